-- Take the next jobs of a channel in a partition: those whose wait is over go to the end of the stream first.
--
-- KEYS  1 lease, 2 jobs, 3 later (members: cmsgpack of field, value, …)
-- ARGV  1 owner, 2 fencing number, 3 group, 4 consumer (constant per partition), 5 most jobs, 6 id up to which all have
--       been taken, where some were taken past others (else "")
-- Returns  {milliseconds until the next job of `later` by Redis's clock (-1: there is none), id of the newest entry of
--          the stream, {id, {field, value, …}}, …}, or the error FENCED when the lease is lost
-- Atomic because an owner that was paused must not take a job that its successor is working, and a crash between
-- `later` and the stream would lose a job or make two of it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
--#include later

local MOST = 1000
local now = bring_back(KEYS[3], KEYS[2], ARGV[5])
local out = {-1, '0-0'}
local next = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if next[2] then out[1] = math.max(0, math.ceil(tonumber(next[2]) - now)) end
if redis.call('EXISTS', KEYS[2]) == 0 then return out end

-- What is there still up to that id is under way; but a failover may have forgotten that it was taken, and whoever
-- moved past it now would leave it there for ever. So it is taken again.
local function move_to(id)
  local entries = redis.call('XRANGE', KEYS[2], '-', id, 'COUNT', MOST)
  if #entries == MOST then return end
  for _, job in ipairs(entries) do
    local pending = redis.pcall('XPENDING', KEYS[2], ARGV[3], job[1], job[1], 1)
    if pending.err then return pending end
    if #pending == 0 then
      redis.call('XCLAIM', KEYS[2], ARGV[3], ARGV[4], 0, job[1], 'RETRYCOUNT', 1, 'FORCE')
      out[#out + 1] = job
    end
  end
  return redis.pcall('XGROUP', 'SETID', KEYS[2], ARGV[3], id)
end

if ARGV[6] and ARGV[6] ~= '' then
  local moved = move_to(ARGV[6])
  if moved and moved.err and not string.find(moved.err, 'NOGROUP', 1, true) then return moved end
end

local function read()
  return redis.pcall('XREADGROUP', 'GROUP', ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'STREAMS', KEYS[2], '>')
end

local found = read()
if found and found.err then
  if not string.find(found.err, 'NOGROUP', 1, true) then return found end
  -- From the start: a job that is done is deleted, so all that is there is still to be done.
  redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[3], '0')
  found = read()
end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if last then out[2] = last[1] end
if not found then return out end
if found.err then return found end
for _, job in ipairs(found[1][2]) do out[#out + 1] = job end
return out
