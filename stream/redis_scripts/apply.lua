-- Makes a step. ARGV: epoch, mark before, mark after, token, records at most, parts that were sent
-- before, the other parts. Gives {word, number}.
--
-- A part is a letter (N puts of what is not here, P other puts, U updates, R removes, O outbox), the
-- number of its rows (4 bytes), for each row an id and the length of its value (4 bytes), and the
-- values. Everything is looked at before anything is written, for Lua takes nothing back; that an id
-- of N is not here was seen at the mark, which is looked at.
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

-- Calls a function for each row of each part, with the part's letter.
local function each_row(letters, visit)
  for p = 1, sent + #ARGV - 6 do
    local part = p <= sent and call('HGET', stage, p) or ARGV[6 + p - sent]
    local letter = sub(part, 1, 1)
    if letters[letter] then
      local rows = cut('<I4', part, 2)
      local at = 6 + rows * 20
      for i = 6, 5 + rows * 20, 20 do
        local id, length = cut('c16<I4', part, i)
        visit(letter, id, part, at, at + length - 1)
        at = at + length
      end
    end
  end
end

local ITEMS = {N = true, P = true, U = true, R = true}
local olds, missing, put_keys = {}, 0, 0
local record_name = namer('r', record_buckets)
each_row(ITEMS, function(letter, id, part, at)
  local value = letter ~= 'N' and call('HGET', record_name(id_hash(id)), id)
  olds[#olds + 1] = value and head_of(value)
  if letter == 'N' or letter == 'P' then
    put_keys = put_keys + cut('<I2', part, at + 1)
    if not value then records = records + 1 end
  elseif not value then
    if letter == 'U' then missing = missing + 1 end
  elseif letter == 'R' then
    records = records - 1
  end
end)
if missing > 0 then return leave('missing', missing) end
if records > records_max and records > tonumber(held[4]) then return leave('full', records) end

-- More buckets, where there will be more entries than they are made for.
local function grown(letter, count, entries, hash)
  local top = power_below(count)
  while count * LOAD < entries do
    if top * 2 <= count then top = top * 2 end
    local from, to = bucket(letter, count - top), bucket(letter, count)
    local all, moved, gone = call('HGETALL', from), {}, {}
    for i = 1, #all, 2 do
      if hash(all[i]) % (2 * top) == count then
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
    count = count + 1
  end
  return count
end

record_buckets = grown('r', record_buckets, records, id_hash)
key_buckets = grown('k', key_buckets, keys_used + put_keys, key_hash)
record_name = namer('r', record_buckets)
local key_name = namer('k', key_buckets)

local function has(ids, id)
  for i = 1, #ids, 16 do
    if sub(ids, i, i + 15) == id then return true end
  end
  return false
end

local function add_key(key, id)
  local name = key_name(key_hash(key))
  if call('HSETNX', name, key, id) == 1 then
    keys_used = keys_used + 1
    return
  end
  local ids = call('HGET', name, key)
  if ids == '' then
    call('ZADD', base .. 'c' .. key, 0, id)
  elseif has(ids, id) then
    return
  elseif #ids < IDS_MAX * 16 then
    call('HSET', name, key, ids .. id)
  else
    for i = 1, #ids, 16 do call('ZADD', base .. 'c' .. key, 0, sub(ids, i, i + 15)) end
    call('ZADD', base .. 'c' .. key, 0, id)
    call('HSET', name, key, '')
  end
end

local function drop_key(key, id)
  local name = key_name(key_hash(key))
  local ids = call('HGET', name, key)
  if not ids then return end
  local rest = ''
  if ids == '' then
    call('ZREM', base .. 'c' .. key, id)
    if call('EXISTS', base .. 'c' .. key) == 1 then return end
  elseif ids ~= id then
    for i = 1, #ids, 16 do
      local other = sub(ids, i, i + 15)
      if other ~= id then rest = rest .. other end
    end
  end
  if rest ~= '' then
    call('HSET', name, key, rest)
  else
    call('HDEL', name, key)
    keys_used = keys_used - 1
  end
end

local function each_key(record, visit, id)
  for i = 4, #record, 8 do visit(sub(record, i, i + 7), id) end
end

local row = 0
each_row(ITEMS, function(letter, id, part, first, last)
  row = row + 1
  local old, name = olds[row], record_name(id_hash(id))
  if letter == 'N' then
    for i = first + 3, first + 2 + 8 * cut('<I2', part, first + 1), 8 do
      add_key(sub(part, i, i + 7), id)
    end
    call('HSET', name, id, sub(part, first, last))
  elseif letter == 'U' then
    call('HSET', name, id, old .. sub(part, first, last))
  elseif letter == 'R' then
    if old then
      each_key(old, drop_key, id)
      call('HDEL', name, id)
    end
  else
    local value = sub(part, first, last)
    local new = head_of(value)
    if not old or sub(old, 2) ~= sub(new, 2) then
      if old then each_key(old, drop_key, id) end
      each_key(new, add_key, id)
    end
    call('HSET', name, id, value)
  end
end)
each_row({O = true}, function(_, _, part, first, last)
  call('RPUSH', base .. 'o', sub(part, first, last))
  sequence = sequence + 1
end)
call('HSET', head, 'm', ARGV[3], 't', token, 'n', records, 's', sequence, 'r', record_buckets,
  'k', key_buckets, 'u', keys_used)
return leave('made')
