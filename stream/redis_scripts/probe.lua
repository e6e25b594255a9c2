-- Records by keys, and by ids. ARGV: keys, ids that a key brings at most, bytes of values at most,
-- ids.
-- Gives {token, ids, values, ids whose values are left, crowded keys}.
local held = call('HMGET', head, 't', 'r', 'k')
if not held[1] then return {'', '', {}, '', ''} end
local keys, most = ARGV[1], tonumber(ARGV[2])
local name = namer('k', tonumber(held[3]))
local seen, ids, crowded = {}, {}, {}

local function bring(id)
  if not seen[id] then
    seen[id] = true
    ids[#ids + 1] = id
  end
end

for i = 1, #ARGV[4], 16 do bring(sub(ARGV[4], i, i + 15)) end
for i = 1, #keys, 8 do
  local key = sub(keys, i, i + 7)
  local found = call('HGET', name(key_hash(key)), key)
  if found == '' then
    local many = call('ZRANGE', base .. 'c' .. key, 0, most)
    if #many > most then
      crowded[#crowded + 1] = key
      many[#many] = nil
    end
    for j = 1, #many do bring(many[j]) end
  elseif found then
    for j = 1, #found, 16 do bring(sub(found, j, j + 15)) end
  end
end
local there, values, left = fetch(ids, tonumber(held[2]), tonumber(ARGV[3]))
return {held[1], there, values, left, table.concat(crowded)}
