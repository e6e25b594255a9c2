-- Keeps a part of a step that is too large for one call. ARGV: token, number, part, seconds after
-- which what nobody made a step of is forgotten.
local stage = base .. 's' .. ARGV[1]
call('HSET', stage, ARGV[2], ARGV[3])
return call('EXPIRE', stage, ARGV[4])
