-- Records by ids. ARGV: ids, bytes of values at most.
-- Gives {token, ids, values, ids that are left}.
local held = call('HMGET', head, 't', 'r')
if not held[1] then return {'', '', {}, ''} end
local ids = {}
for i = 1, #ARGV[1], 16 do ids[#ids + 1] = sub(ARGV[1], i, i + 15) end
return {held[1], fetch(ids, tonumber(held[2]), tonumber(ARGV[2]))}
