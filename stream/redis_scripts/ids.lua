-- Ids of the records of some buckets, in no order. ARGV: first bucket, ids to stop at, kinds (a
-- byte each; none means all). Gives {next bucket or -1, ids}. An id may come twice where buckets
-- grow between two calls: what moves goes to a bucket behind all others, so none is missed.
local count = tonumber(call('HGET', head, 'r') or 0)
local number, most, kinds = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local ids = {}
while number < count and #ids < most do
  local name = bucket('r', number)
  if kinds == '' then
    local all = call('HKEYS', name)
    for i = 1, #all do ids[#ids + 1] = all[i] end
  else
    local all = call('HGETALL', name)
    for i = 1, #all, 2 do
      if string.find(kinds, sub(all[i + 1], 1, 1), 1, true) then ids[#ids + 1] = all[i] end
    end
  end
  number = number + 1
end
return {number < count and number or -1, table.concat(ids)}
