-- What all scripts begin with. A tenant's keys share one hash tag, so all of them lie on one node:
--
--   h          head: epoch e, mark m, token t of the last step, records n, sequence s of the last
--              outbox entry, sequence f of the first one kept, buckets r and k, keys of records u
--   rNUMBER    bucket of records: id -> kind (1 byte), number of keys (2 bytes), keys, body
--   kNUMBER    bucket of keys: a string of entries of ENTRY bytes, to which is only added until it
--              is tidied: key, id and PLAIN where a record has the key, key, id and GONE where it
--              has it no more, key and CROWDED where a set has the ids. MARK before them says that
--              there are crowded keys
--   cKEY       sorted set of the ids of a crowded key
--   o          list of outbox entries
--   sTOKEN     number -> part of a large step that is being sent
--   x          is never there
--
-- KEYS[1] is the head, KEYS[2] is x. While a cluster moves the tag's slot to another node, Redis
-- answers a call that names two keys, one of them missing, with TRYAGAIN: so no script ever runs on
-- the half of a tenant.
--
-- Buckets grow by linear hashing: one at a time, each by dividing one that is there. Rows of a call
-- bring the hashes of their ids or keys and come sorted by the bits of them, the lowest first: so
-- those of one bucket follow each other, however many buckets there are, and are read and written
-- together.
--
-- Each text that a script makes costs by its length, for Lua hashes all of it.
local call, sub, format, cut = redis.call, string.sub, string.format, struct.unpack
local head = KEYS[1]
local base = sub(head, 1, -2)
local LOAD = 32 -- entries of a bucket, on average: Redis searches them one after the other
local GROUP_MAX = 16 -- rows that are read or written together: their values are in memory at once
local ENTRY, PLAIN, GONE, CROWDED, MARK = 25, '\0', '\2', string.rep('\0', 16) .. '\1', '!'
local CHUNK = 3000 -- values that one command is given: Lua cannot hand over more than 8,000

-- As in state_redis.py. Numbers stay below 2^53, where doubles are exact; the remainder mixes high
-- and low bits.
local function key_hash(bytes, at)
  local a, b = cut('<I4I4', bytes, at)
  return (a * 1048573 + b * 786433) % 4294967291
end

local function id_hash(id)
  local a, b, c, d = cut('<I4I4I4I4', id)
  return (a * 524287 + b * 393241 + c * 262139 + d * 196613) % 4294967291
end

local function bucket(letter, number) return base .. letter .. format('%d', number) end

-- The largest power of two that is not above a number of buckets.
local function power_below(count)
  local top = 1
  while top * 2 <= count do top = top * 2 end
  return top
end

-- A function from a hash to the number of its bucket.
local function numberer(count)
  local both = power_below(count) * 2
  local top = both / 2
  return function(hash)
    local number = hash % both
    return number < count and number or number - top
  end
end

-- Cuts `total` rows at a place and calls visit(name of bucket, n, columns...) for each n of them
-- that follow each other in one bucket. The first column is the hash, which visit is not given.
local function each_group(letter, count, form, width, rows, at, total, visit)
  local number_of = numberer(count)
  local as, bs, cs, ds, n, current = {}, {}, {}, {}, 0, -1
  for i = at, at + (total - 1) * width, width do
    local hash, a, b, c, d = cut(form, rows, i)
    local number = number_of(hash)
    if number ~= current or n == GROUP_MAX then
      if n > 0 then visit(bucket(letter, current), n, as, bs, cs, ds) end
      current, n = number, 0
    end
    n = n + 1
    as[n], bs[n], cs[n], ds[n] = a, b, c, d
  end
  if n > 0 then visit(bucket(letter, current), n, as, bs, cs, ds) end
end

-- Where an entry that begins with some bytes lies in a bucket of keys, from a place on; or nil.
local function entry_at(bytes, start, at)
  local place = (#bytes + 1) % ENTRY
  at = string.find(bytes, start, at, true)
  while at and at % ENTRY ~= place do at = string.find(bytes, start, at + 1, true) end
  return at
end

-- A record without its body, and the keys of it.
local function head_of(value)
  return sub(value, 1, 3 + 8 * cut('<I2', value, 2))
end

-- Values of records by ids, until there are `most` bytes of them: ids, values, ids that are left.
local function fetch(ids, count, most)
  local found, values, left, size = {}, {}, {}, 0
  local number_of = numberer(count)
  for i = 1, #ids do
    local id = ids[i]
    if size >= most then
      left[#left + 1] = id
    else
      local value = call('HGET', bucket('r', number_of(id_hash(id))), id)
      if value then
        found[#found + 1] = id
        values[#values + 1] = value
        size = size + #value
      end
    end
  end
  return table.concat(found), values, table.concat(left)
end
