-- Makes a step. ARGV: epoch, mark before, mark after, token, records at most, parts that were sent
-- before, the other parts. Gives {word, number}.
--
-- A part is a letter, the number of its rows (4 bytes), the rows and their values:
--
--   I   items: hash (4 bytes), id, what becomes of it (P put, U new body, R removed), where in the
--       part its value begins and ends (4 bytes each)
--   K   keys of what is put: all hashes (4 bytes each), then all entries as buckets hold them
--   O   entries for the outbox: where in the part they begin and end (4 bytes each)
--
-- Everything is looked at before anything is written, for Lua takes nothing back.
local ENTRIES_MAX = 72 -- of a bucket of keys, before it is tidied: few buckets have as many in use
local IDS_MAX = 16 -- of a key, before it is crowded
local token, records_max = ARGV[4], tonumber(ARGV[5])
local before, after, sent = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[6])
local stage = base .. 's' .. token

local function leave(word, value)
  if sent > 0 then call('UNLINK', stage) end
  return {word, value or 0}
end

local held = call('HMGET', head, 'e', 'm', 't', 'n', 's', 'r', 'k', 'u')
if not held[1] then return leave('unclaimed') end
if held[1] ~= ARGV[1] then return leave('fenced', tonumber(held[1])) end
if held[3] == token then return leave('made') end
local mark = tonumber(held[2])
if after <= mark and not (before == after and after == mark) then return leave('made') end
if before ~= mark then return leave('mark', mark) end
local records, sequence = tonumber(held[4]), tonumber(held[5])
local record_buckets, key_buckets = tonumber(held[6]), tonumber(held[7])
local keys_used = tonumber(held[8])
if call('HLEN', stage) ~= sent then return {'unsent', 0} end

local function part_of(p)
  return p <= sent and call('HGET', stage, p) or ARGV[6 + p - sent]
end

local letters, counts, put_keys = {}, {}, 0
for p = 1, sent + #ARGV - 6 do
  letters[p], counts[p] = cut('<c1I4', part_of(p))
  if letters[p] == 'K' then put_keys = put_keys + counts[p] end
end

local function each_item(visit)
  for p = 1, #letters do
    if letters[p] == 'I' then
      local part = part_of(p)
      each_group('r', record_buckets, '<I4c16c1I4I4', 29, part, 6, counts[p],
        function(...) visit(part, ...) end)
    end
  end
end

local olds, missing = {}, 0
each_item(function(_, name, n, ids, whats)
  local values = call('HMGET', name, unpack(ids, 1, n))
  for i = 1, n do
    local value, what = values[i], whats[i]
    olds[#olds + 1] = value and head_of(value)
    if what == 'P' then
      if not value then records = records + 1 end
    elseif not value then
      if what == 'U' then missing = missing + 1 end
    elseif what == 'R' then
      records = records - 1
    end
  end
end)
if missing > 0 then return leave('missing', missing) end
if records > records_max and records > tonumber(held[4]) then return leave('full', records) end

local function divide_records(from, to, moves)
  local all, moved, gone = call('HGETALL', from), {}, {}
  for i = 1, #all, 2 do
    if moves(id_hash(all[i])) then
      moved[#moved + 1], moved[#moved + 2] = all[i], all[i + 1]
      gone[#gone + 1] = all[i]
    end
  end
  for i = 1, #moved, CHUNK do
    call('HSET', to, unpack(moved, i, math.min(i + CHUNK - 1, #moved)))
  end
  for i = 1, #gone, CHUNK do
    call('HDEL', from, unpack(gone, i, math.min(i + CHUNK - 1, #gone)))
  end
end

-- What stands before the entries of a bucket of keys.
local function mark_of(bytes) return sub(bytes, 1, #bytes % ENTRY) end

local function keep(name, bytes)
  if #bytes < ENTRY then call('DEL', name) else call('SET', name, bytes) end
end

local function divide_keys(from, to, moves)
  local bytes = call('GET', from) or ''
  local mark = mark_of(bytes)
  local moved, left = {mark}, {mark}
  for i = #mark + 1, #bytes, ENTRY do
    local part = moves(key_hash(bytes, i)) and moved or left
    part[#part + 1] = sub(bytes, i, i + ENTRY - 1)
  end
  if #moved > 1 then
    keep(to, table.concat(moved))
    keep(from, table.concat(left))
  end
end

-- More buckets, where there will be more entries than they are made for.
local function grown(letter, count, entries, divide)
  local top = power_below(count)
  local function moves(hash) return hash % (2 * top) == count end
  while count * LOAD < entries do
    if top * 2 <= count then top = top * 2 end
    divide(bucket(letter, count - top), bucket(letter, count), moves)
    count = count + 1
  end
  return count
end

record_buckets = grown('r', record_buckets, records, divide_records)
key_buckets = grown('k', key_buckets, keys_used + put_keys, divide_keys)

-- Takes the ids of crowded keys out of entries: what is left, behind the mark. `places` says of key
-- and id where the entry is that counts, or false where they are gone.
local function crowd_out(used, places, crowds)
  local ids_of, left = {}, {''}
  for key in pairs(crowds) do ids_of[key] = {} end
  for i = 1, #used do
    local key, id = cut('c8c16', used[i])
    ids_of[key] = ids_of[key] or {}
    ids_of[key][#ids_of[key] + 1] = id
  end
  for pair, place in pairs(places) do
    local key, id = cut('c8c16', pair)
    if not place and crowds[key] then call('ZREM', base .. 'c' .. key, id) end
  end
  for key, ids in pairs(ids_of) do
    if not crowds[key] and #ids <= IDS_MAX then
      for i = 1, #ids do left[#left + 1] = key .. ids[i] .. PLAIN end
    else
      for i = 1, #ids do call('ZADD', base .. 'c' .. key, 0, ids[i]) end
      if call('EXISTS', base .. 'c' .. key) == 1 then
        left[1], left[#left + 1] = MARK, key .. CROWDED
      end
    end
  end
  return table.concat(left)
end

-- Writes a bucket of keys anew without what is gone or crowded.
local function tidy(name)
  local bytes, places, used, crowds = call('GET', name), {}, {}, {}
  local first = #bytes % ENTRY + 1
  for i = first, #bytes, ENTRY do
    local pair, what = cut('c24c1', bytes, i)
    if what == PLAIN then
      places[pair] = i
    elseif what == GONE then
      places[pair] = false
    else
      crowds[sub(pair, 1, 8)] = true
    end
  end
  for i = first, #bytes, ENTRY do
    local pair = sub(bytes, i, i + ENTRY - 2)
    if places[pair] == i then used[#used + 1] = pair end
  end
  if #used > ENTRIES_MAX or first > 1 then
    keep(name, crowd_out(used, places, crowds))
  else
    keep(name, #used > 0 and table.concat(used, PLAIN) .. PLAIN or '')
  end
end

local function add(number, entries, at_once)
  local name = bucket('k', number)
  local size = call('APPEND', name, entries)
  if size > ENTRY * ENTRIES_MAX or size % ENTRY > 0 or at_once then tidy(name) end
end

local function add_keys(part, count)
  local number_of, first, current = numberer(key_buckets), 6 + 4 * count, nil
  local last = first - 1
  for i = 6, 2 + 4 * count, 4 do
    local number = number_of(cut('<I4', part, i))
    if number ~= current and current then
      add(current, sub(part, first, last))
      first = last + 1
    end
    current, last = number, last + ENTRY
  end
  add(current, sub(part, first, last))
  keys_used = keys_used + count
end

local drops, drop_number = {}, numberer(key_buckets)

-- Notes the keys of a record that leaves, or that comes again with its keys among those of puts.
local function note_drops(old, id)
  for i = 4, #old, 8 do
    local number = drop_number(key_hash(old, i))
    local noted = drops[number] or {}
    drops[number] = noted
    noted[#noted + 1] = sub(old, i, i + 7) .. id .. GONE
  end
  keys_used = keys_used - (#old - 3) / 8
end

local row = 0
each_item(function(part, name, n, ids, whats, firsts, lasts)
  local sets, gone = {}, {}
  for i = 1, n do
    row = row + 1
    local old, id, what = olds[row], ids[i], whats[i]
    if what ~= 'R' then
      local value = sub(part, firsts[i], lasts[i])
      if what == 'U' then
        value = old .. value
      elseif old then
        note_drops(old, id)
      end
      sets[#sets + 1], sets[#sets + 2] = id, value
    elseif old then
      note_drops(old, id)
      gone[#gone + 1] = id
    end
  end
  if #sets > 0 then call('HSET', name, unpack(sets)) end
  if #gone > 0 then call('HDEL', name, unpack(gone)) end
end)

-- A tenant that has shrunk holds no memory for what is gone.
local has_shrunk = keys_used + put_keys < key_buckets * LOAD / 2
for number, noted in pairs(drops) do add(number, table.concat(noted), has_shrunk) end
for p = 1, #letters do
  if letters[p] == 'K' then
    add_keys(part_of(p), counts[p])
  elseif letters[p] == 'O' then
    local part = part_of(p)
    for i = 6, 5 + counts[p] * 8, 8 do
      local first, last = cut('<I4I4', part, i)
      call('RPUSH', base .. 'o', sub(part, first, last))
      sequence = sequence + 1
    end
  end
end
call('HSET', head, 'm', ARGV[3], 't', token, 'n', records, 's', sequence, 'r', record_buckets,
  'k', key_buckets, 'u', keys_used)
return leave('made')
