-- What all scripts begin with. A tenant's keys share one hash tag, so all of them lie on one node:
--
--   h          head: epoch e, mark m, token t of the last step, records n, sequence s of the last
--              outbox entry, sequence f of the first one kept, buckets r and k, keys in use u
--   rNUMBER    bucket of records: id -> kind (1 byte), number of keys (2 bytes), keys, body
--   kNUMBER    bucket of keys: key -> ids of the records that have it, or nothing where they are
--              more than IDS_MAX
--   cKEY       sorted set of the ids of such a key
--   o          list of outbox entries
--   sTOKEN     number -> part of a large step that is being sent
--   x          is never there
--
-- KEYS[1] is the head, KEYS[2] is x. While a cluster moves the tag's slot to another node, Redis
-- answers a call that names two keys, one of them missing, with TRYAGAIN: so no script ever runs on
-- the half of a tenant.
--
-- Buckets grow by linear hashing: one at a time, each by dividing one that is there.
local call, sub, format, cut = redis.call, string.sub, string.format, struct.unpack
local head = KEYS[1]
local base = sub(head, 1, -2)
local LOAD = 32 -- entries of a bucket, on average: Redis searches them one after the other
local IDS_MAX = 4
local CHUNK = 3000 -- values that one command is given: Lua cannot hand over more than 8,000

-- Numbers stay below 2^53, where doubles are exact; the remainder mixes high and low bits.
local function key_hash(key)
  local a, b = cut('<I4I4', key)
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

-- A function from a hash to the name of its bucket. Numbers below 10^14 are texts without a point.
local function namer(letter, count)
  local start, both, names = base .. letter, power_below(count) * 2, {}
  local top = both / 2
  return function(hash)
    local number = hash % both
    if number >= count then number = number - top end
    local name = names[number]
    if not name then
      name = start .. number
      names[number] = name
    end
    return name
  end
end

-- A record without its body, and the keys of it.
local function head_of(value)
  return sub(value, 1, 3 + 8 * cut('<I2', value, 2))
end

-- Values of records by ids, until there are `most` bytes of them: ids, values, ids that are left.
local function fetch(ids, count, most)
  local found, values, left, size = {}, {}, {}, 0
  local name = namer('r', count)
  for i = 1, #ids do
    local id = ids[i]
    if size >= most then
      left[#left + 1] = id
    else
      local value = call('HGET', name(id_hash(id)), id)
      if value then
        found[#found + 1] = id
        values[#values + 1] = value
        size = size + #value
      end
    end
  end
  return table.concat(found), values, table.concat(left)
end
