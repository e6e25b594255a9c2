-- Records by keys. ARGV: rows of hash (4 bytes) and key, ids that a key brings at most, bytes of
-- values at most. Gives {token, ids, values, ids whose values are left, crowded keys}.
local held = call('HMGET', head, 't', 'r', 'k')
if not held[1] then return {'', '', {}, '', ''} end
local rows, most = ARGV[1], tonumber(ARGV[2])
local seen, ids, crowded = {}, {}, {}

local function bring(id)
  if not seen[id] then
    seen[id] = true
    ids[#ids + 1] = id
  end
end

local function bring_crowded(key)
  local many = call('ZRANGE', base .. 'c' .. key, 0, most)
  if #many > most then
    crowded[#crowded + 1] = key
    many[#many] = nil
  end
  for i = 1, #many do bring(many[i]) end
end

-- Brings the records of a key by the entries of its bucket, of which the first lies at a place.
local function bring_entries(bytes, key, at)
  local some = {}
  while at do
    local id, what = cut('c16c1', bytes, at + 8)
    if what == PLAIN then
      some[#some + 1] = id
    elseif what == GONE then
      for i = 1, #some do
        if some[i] == id then some[i] = false end
      end
    else
      bring_crowded(key)
    end
    at = entry_at(bytes, key, at + ENTRY)
  end
  for i = 1, #some do
    if some[i] then bring(some[i]) end
  end
end

each_group('k', tonumber(held[3]), '<I4c8', 12, rows, 1, #rows / 12, function(name, n, keys)
  local bytes = call('GET', name)
  if not bytes then return end
  for i = 1, n do
    local at = entry_at(bytes, keys[i], 1)
    if at then bring_entries(bytes, keys[i], at) end
  end
end)

local there, values, left = fetch(ids, tonumber(held[2]), tonumber(ARGV[3]))
return {held[1], there, values, left, table.concat(crowded)}
