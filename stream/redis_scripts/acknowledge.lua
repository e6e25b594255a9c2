-- Forgets outbox entries up to and with a sequence: ARGV[1].
local first = tonumber(call('HGET', head, 'f') or 1)
local count = math.min(tonumber(ARGV[1]) + 1 - first, call('LLEN', base .. 'o'))
if count > 0 then
  call('LTRIM', base .. 'o', count, -1)
  call('HINCRBY', head, 'f', count)
end
return count
