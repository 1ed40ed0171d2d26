-- Note what people were written and have acknowledged, from whichever device, and count it for each event.
--
-- KEYS  per person: meta, inbox, trail; also counts under ARGV[1] and bodies under ARGV[2], which carry the same hash tag
-- ARGV  1 prefix of counts keys, 2 prefix of body keys, 3 size of a trail, 4 most ranges kept of what was acknowledged;
--       then per person: epoch, offsets written, offsets acknowledged, both as `a-b,c-d`, sorted and apart
-- Returns  per person {how many offsets were newly written, how many newly acknowledged}, or {-1, reason} for a person
--          of whom nothing was noted: "epoch" (the log was made anew since, or what was meant was lost), "top" (there is
--          no such offset yet), "WRONGTYPE" (keys that cannot be used). Of a former epoch counts what survived
-- Atomic because two devices of one person acknowledge at the same time, and each event is counted once.
--#include position
local most = tonumber(ARGV[4])
local generation = #KEYS > 0 and generation_of(KEYS[1])

-- As bus/ranges.py has it, which this is tested against.
local function parse(text)
  local out = {}
  for first, last in string.gmatch(text or '', '(%d+)%-(%d+)') do out[#out + 1] = {tonumber(first), tonumber(last)} end
  return out
end

local function merge(ranges, added)
  local all, out = {}, {}
  for _, range in ipairs(ranges) do all[#all + 1] = {range[1], range[2]} end
  for _, range in ipairs(added) do all[#all + 1] = {range[1], range[2]} end
  table.sort(all, function(one, other) return one[1] < other[1] end)
  for _, range in ipairs(all) do
    local before = out[#out]
    if before and range[1] <= before[2] + 1 then
      before[2] = math.max(before[2], range[2])
    else
      out[#out + 1] = range
    end
  end
  while #out > most do table.remove(out, 1) end
  return out
end

local function without(ranges, known)
  local out = {}
  for _, range in ipairs(ranges) do
    local first, last = range[1], range[2]
    for _, old in ipairs(known) do
      if old[2] >= first and old[1] <= last then
        if old[1] > first then out[#out + 1] = {first, old[1] - 1} end
        first = old[2] + 1
      end
    end
    if first <= last then out[#out + 1] = {first, last} end
  end
  return out
end

local function text(ranges)
  local parts = {}
  for i, range in ipairs(ranges) do parts[i] = string.format('%.0f-%.0f', range[1], range[2]) end
  return table.concat(parts, ',')
end

local function highest(ranges) return #ranges > 0 and ranges[#ranges][2] or 0 end

-- Up to which offset an epoch that somebody names still counts here: nil for none at all.
local function survived(epoch, meta, log, known)
  local now = epoch_in(generation, meta, log, known[1], known[2], known[5])
  if epoch == now then return math.huge end
  for before, top in string.gmatch(redis.call('HGET', meta, 'survived') or '', '(%S+) (%d+)') do
    if before == epoch then return tonumber(top) end
  end
end

local function below(ranges, top)
  local out = {}
  for _, range in ipairs(ranges) do
    if range[1] <= top then out[#out + 1] = {range[1], math.min(range[2], top)} end
  end
  return out
end

-- The trail and the counts of what is new; gives back how many offsets that is.
local function tell(log, trail, kind, ranges)
  local new = 0
  for _, range in ipairs(ranges) do
    new = new + range[2] - range[1] + 1
    local from, to = string.format('%.0f-0', range[1]), string.format('%.0f-0', range[2])
    for _, entry in ipairs(redis.call('XRANGE', log, from, to)) do
      local ref = entry[2][2]
      -- Of a state publication, which is no notification, and of what was withdrawn before, nothing is told.
      if #entry[2] == 2 and redis.call('HEXISTS', ARGV[2] .. ref, 'w') == 0 then
        redis.call('XADD', trail, 'MAXLEN', '~', ARGV[3], '*', 'e', ref, 'k', kind, 'c', '', 'r', '', 'n', '0')
        local counts = ARGV[1] .. ref
        if redis.call('HINCRBY', counts, kind, 1) == 1 and redis.call('TTL', counts) < 0 then
          redis.call('EXPIRE', counts, redis.call('TTL', log))
        end
      end
    end
  end
  return new
end

local function note(meta, log, trail, epoch, written, acked)
  local known = redis.call('HMGET', meta, 'epoch', 'top', 'written', 'acked', 'gen')
  if not known[1] then return {-1, 'epoch'} end
  if known[1] ~= epoch or (known[5] or '1') ~= generation then
    local top = survived(epoch, meta, log, known)
    if not top then return {-1, 'epoch'} end
    if top < math.huge then
      local some = #written + #acked > 0
      written, acked = below(written, top), below(acked, top)
      if some and #written + #acked == 0 then return {-1, 'epoch'} end
    end
  end
  local up_to, before = tonumber(known[3] or 0), parse(known[4])
  local wanted = math.max(highest(written), highest(acked))
  if wanted > tonumber(known[2]) then
    -- The position may lag behind its log: the top is the larger of the two.
    local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    if not last or wanted > tonumber(string.match(last[1], '^%d+')) then return {-1, 'top'} end
  end
  local new_written = tell(log, trail, 'written', without(written, {{1, up_to}}))
  local new_acked = tell(log, trail, 'acked', without(acked, before))
  if highest(written) > up_to then redis.call('HSET', meta, 'written', string.format('%.0f', highest(written))) end
  if new_acked > 0 then redis.call('HSET', meta, 'acked', text(merge(before, acked))) end
  if new_written + new_acked > 0 then
    local ttl = redis.call('TTL', log)
    if redis.call('TTL', trail) < ttl then redis.call('EXPIRE', trail, ttl) end
  end
  return {new_written, new_acked}
end

local out = {}
for i = 0, (#ARGV - 4) / 3 - 1 do
  local fine, answer = pcall(note, KEYS[3 * i + 1], KEYS[3 * i + 2], KEYS[3 * i + 3], ARGV[3 * i + 5],
    parse(ARGV[3 * i + 6]), parse(ARGV[3 * i + 7]))
  if not fine then
    -- A string before Redis 7, a table since.
    local why = type(answer) == 'table' and answer.err or tostring(answer)
    -- Only a key of the wrong type is that person's own trouble; the rest (OOM, READONLY …) is everyone's.
    if not string.find(why, 'WRONGTYPE', 1, true) then return redis.error_reply(why) end
    answer = {-1, 'WRONGTYPE'}
  end
  out[#out + 1] = answer
end
return out
