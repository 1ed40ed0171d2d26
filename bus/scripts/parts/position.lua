-- Where a topic stands, in the generation of its partition (see generation.lua).

local function generation_of(key)
  return redis.call('HGET', string.match(key, '^.-}:') .. 'generation', 'name') or '1'
end

-- The epoch of a topic, which ends with the generation it is of: what came of an older one counts up to the top that
-- survived, which is noted. A position without a generation is of the first.
local function epoch_in(generation, meta, log, epoch, top, noted)
  if (noted or '1') == generation then return epoch end
  -- The position may lag behind its log: the top is the larger of the two.
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  top = math.max(tonumber(top) or 0, last and tonumber(string.match(last[1], '^%d+')) or 0)
  local survived, count = epoch .. ' ' .. string.format('%.0f', top), 1
  for before, up_to in string.gmatch(redis.call('HGET', meta, 'survived') or '', '(%S+) (%d+)') do
    if count == 8 then break end
    survived = survived .. ' ' .. before .. ' ' .. string.format('%.0f', math.min(tonumber(up_to), top))
    count = count + 1
  end
  local fresh = (string.match(epoch, '^(.*)%-%d+g%x+$') or epoch) .. '-' .. generation
  redis.call('HSET', meta, 'epoch', fresh, 'gen', generation, 'top', string.format('%.0f', top), 'survived', survived)
  return fresh
end

local function begin_epoch(generation, meta, epoch)
  redis.call('HSET', meta, 'epoch', epoch, 'top', 0)
  if generation ~= '1' then redis.call('HSET', meta, 'gen', generation) end
end
