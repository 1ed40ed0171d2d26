-- What take_jobs and look_jobs have in common: the jobs whose wait is over go from `later` to the end of their stream.

-- Field, value, …; what somebody else wrote there is no job, and is buried as such: it must not hold up the others.
local function fields_of(member)
  local fine, fields = pcall(cmsgpack.unpack, member)
  if not fine or type(fields) ~= 'table' or #fields == 0 or #fields > 200 or #fields % 2 == 1 then
    return {'later', member}
  end
  for _, part in ipairs(fields) do
    if type(part) ~= 'string' then return {'later', member} end
  end
  return fields
end

-- At most so many; returns the time it is now (ms).
local function bring_back(later, jobs, most)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  for _, job in ipairs(redis.call('ZRANGEBYSCORE', later, '-inf', now, 'LIMIT', 0, most)) do
    redis.call('XADD', jobs, '*', unpack(fields_of(job)))
    redis.call('ZREM', later, job)
  end
  return now
end
