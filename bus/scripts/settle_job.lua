-- Settle a job by itself: finish it, put it off or bury it; and tell the person's trail, the counts and the target.
--
-- KEYS  1 lease, 2 jobs, 3 later, 4 dead, 5 trail, 6 hash of the target: the person's devices or profile,
--       then the counts of each event it was about; more than these may follow (see bus/pipe/routing.py)
-- ARGV  1 owner, 2 fencing number, 3 group, 4 entry id, 5 "ack", "defer" or "bury",
--       6 reason ("" none), 7 attempts counted so far, 8 wait (ms, of defer), 9 most dead letters kept (of bury),
--       10 channel, 11 kind for the trail ("" tells it nothing), 12 state to count ("" none), 13 ttl of trail and
--       counts (s), 14 field of the target's hash to write ("" none), 15 its value, 16 field that must still have
--       17 this value for that, then the escaped reference of each event
-- Returns  1; 0 when the job was settled already (nothing is done); or the error FENCED when the lease is lost
-- Atomic because a crash within would lose the job, make two of it, or tell what did not happen. A repeat after a lost
-- reply finds the job acknowledged and does nothing.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local id, what, reason, attempts = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
-- First, for a key of another type refuses the whole only before anything is done.
if what == 'defer' then redis.call('ZCARD', KEYS[3]) end
if what == 'bury' then redis.call('XLEN', KEYS[4]) end
local pending = redis.call('XACK', KEYS[2], ARGV[3], id)
local job = redis.call('XRANGE', KEYS[2], id, id)[1]
-- One that is still there is ours by the lease, though a failover may have forgotten that it was taken.
if pending == 0 and not job then return 0 end
redis.call('XDEL', KEYS[2], id)

-- `n` attempts, `w` why it waits; the rest of the job as it is.
local function renewed()
  local out = {}
  for i = 1, #job[2], 2 do
    if job[2][i] ~= 'n' and job[2][i] ~= 'w' then
      out[#out + 1] = job[2][i]
      out[#out + 1] = job[2][i + 1]
    end
  end
  for _, part in ipairs({'n', attempts, 'w', reason}) do out[#out + 1] = part end
  return out
end

if job and what == 'defer' then
  local time = redis.call('TIME')
  local due = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[8]
  redis.call('ZADD', KEYS[3], string.format('%.0f', due), cmsgpack.pack(renewed()))
elseif job and what == 'bury' then
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[9], '*', 'queue', 'jobs:' .. ARGV[10], 'entry', id,
    'reason', reason, 'attempts', attempts, unpack(job[2], 1, math.min(#job[2], 200)))
end

local channel, kind, state, ttl = ARGV[10], ARGV[11], ARGV[12], ARGV[13]
local function tell(told, why)
  for i = 18, #ARGV do
    redis.call('XADD', KEYS[5], 'MAXLEN', '~', 4000, '*', 'e', ARGV[i], 'k', told, 'c', channel, 'r', why, 'n', attempts)
  end
  redis.call('EXPIRE', KEYS[5], ttl)
end
if kind ~= '' then tell(kind, reason) end
if state ~= '' then
  for i = 7, #ARGV - 11 do
    redis.call('HINCRBY', KEYS[i], channel .. ':' .. state, 1)
    if redis.call('TTL', KEYS[i]) < 0 then redis.call('EXPIRE', KEYS[i], ttl) end
  end
end

-- The event was withdrawn while its push was being sent: the walk that replaces pushes may have passed before this one
-- was known to be out, so it is replaced from here.
local function replace_push()
  local again, known = {}, {}
  for i = 1, #job[2], 2 do known[job[2][i]] = job[2][i + 1] end
  if known.k ~= 'send' then return end
  if redis.call('EXISTS', (string.gsub(KEYS[7], '}:counts:', '}:withdrawn:', 1))) == 0 then return end
  local time = redis.call('TIME')
  known.id = string.sub(redis.sha1hex(known.id .. ' withdraw'), 1, 32)
  known.k, known.n, known.x, known.w = 'withdraw', '0', '', nil
  known.x2 = string.format('%.0f', time[1] * 1000 + 86400000)
  for name, value in pairs(known) do
    again[#again + 1] = name
    again[#again + 1] = value
  end
  redis.call('XADD', KEYS[2], '*', unpack(again))
end
if job and channel == 'push' and state == 'sent' then replace_push() end

-- A device that registered again, or an address that changed, while the job was worked stays what it is now.
if ARGV[14] ~= '' and redis.call('HGET', KEYS[6], ARGV[16]) == ARGV[17] then
  redis.call('HSET', KEYS[6], ARGV[14], ARGV[15])
  if state == 'gone' and channel == 'push' then
    for _, device in ipairs(redis.call('HVALS', KEYS[6])) do
      local fine, known = pcall(cjson.decode, device)
      if fine and type(known) == 'table' and known.state and known.state ~= 'gone' then return 1 end
    end
    tell('failed', 'no device is left')
  end
end
return 1
