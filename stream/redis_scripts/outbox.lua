-- Outbox entries behind a sequence. ARGV: sequence, entries at most, bytes to stop at.
-- Gives {sequence of the first, entries}.
local first = tonumber(call('HGET', head, 'f') or 1)
local at, most, bytes_left = tonumber(ARGV[1]) + 1 - first, tonumber(ARGV[2]), tonumber(ARGV[3])
if at < 0 then at = 0 end
first = first + at
local entries = {}
while #entries < most and bytes_left > 0 do
  local entry = call('LINDEX', base .. 'o', at)
  if not entry then break end
  entries[#entries + 1] = entry
  bytes_left, at = bytes_left - #entry, at + 1
end
return {first, entries}
