#!lua name=sanad_VERSION

-- What a server does in one step. All keys of a call share the hash tag KEYS[1], so that they lie in one slot; their
-- names are made here from the tag and the keyed hash of a person's id.
--
--   :u:<owner>  state: version, token of the last write, four sealed parts, last event folded in
--   :k:<owner>  the person's key and its number        :t:<owner>  what outlives an erasure
--   :l:<owner>  pages of deliveries, in commit order   :d:<owner>  request -> time of its answer
--   :a:<owner>:<request>  an answer, sealed            :v:<owner>  events, sealed    :i:<owner>  their ids
--   :meta       counters of the tag, last committed time, which run of which server it was last seen on
--   :outbox     what is not of one person, until it is added up elsewhere
--   :pages :waiting :stones  who has pages, events, a tombstone, by the oldest      :forgotten  cut-offs

local DAY = 86400000

local function commit(tag, at)
  local before = redis.call('HGET', tag .. ':meta', 'c')
  if not before or tonumber(at) > tonumber(before) then redis.call('HSET', tag .. ':meta', 'c', at) end
end

-- Whether a person's key is the one that sealed what comes; where there is none yet, the fresh one becomes it.
local function other_key(tag, owner, number, fresh)
  local name = tag .. ':k:' .. owner
  local has = redis.call('HMGET', name, 'n', 'k')
  if has[1] == number then return nil end
  if has[1] then return {'key', has[1], has[2]} end
  if fresh == '' then return {'key'} end
  redis.call('HSET', name, 'n', number, 'k', fresh)
  return nil
end

local function version_of(tag, owner)
  return redis.call('HGET', tag .. ':u:' .. owner, 'v') or redis.call('HGET', tag .. ':t:' .. owner, 'v') or '0'
end

local function micros()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000000 + tonumber(now[2])
end

local function whole(number) return string.format('%.0f', number) end

-- A number of a tag that was never given: also where a failover lost the last ones, the clock is past them.
local function next_number(tag, name)
  local before = tonumber(redis.call('HGET', tag .. ':meta', name) or '0')
  return math.max(before + 1, micros())
end

-- owner, request ('' = none)
local function read(keys, args)
  local tag, owner = keys[1], args[1]
  local state = redis.call('HMGET', tag .. ':u:' .. owner, 'v', 'p', 's', 'e', 'i', 'g')
  local stone = state[1] and {false, false} or redis.call('HMGET', tag .. ':t:' .. owner, 'v', 's')
  local answer = args[2] ~= '' and redis.call('GET', tag .. ':a:' .. owner .. ':' .. args[2])
  local after = state[6] or '0'
  return {
    state, stone, answer, redis.call('HMGET', tag .. ':k:' .. owner, 'n', 'k'),
    redis.call('XRANGE', tag .. ':v:' .. owner, '(' .. after .. '-0', '+'),
  }
end

-- owner, version, token, number, fresh, four parts, last event, then of a page: at, newest delivery, how many, page,
-- request, answer, counts
local function write(keys, args)
  local tag, owner, version, token = keys[1], args[1], args[2], args[3]
  local state = tag .. ':u:' .. owner
  if version_of(tag, owner) ~= version then
    local last = redis.call('HMGET', state, 'w', 'v')
    if last[1] == token then  -- sent again after its answer was lost
      redis.call('HSET', state, 'w', token)  -- WAIT waits for what this connection wrote, so it must write
      return {'ok', last[2]}
    end
    return {'no'}
  end
  if redis.call('HEXISTS', tag .. ':meta', 'run') == 0 then return {'emptied'} end
  local doubt = #args > 10 and redis.call('HGET', tag .. ':meta', 'doubt')
  if doubt and tonumber(doubt) > math.min(micros(), tonumber(args[11]) * 1000) then  -- until both clocks are past it
    return {'doubt', doubt}
  end
  local other = other_key(tag, owner, args[4], args[5])
  if other then return other end
  local new = whole(next_number(tag, 'v'))
  redis.call('HSET', tag .. ':meta', 'v', new)
  redis.call('HSET', state, 'v', new, 'w', token, 'p', args[6], 's', args[7], 'e', args[8], 'i', args[9], 'g', args[10])
  if redis.call('DEL', tag .. ':t:' .. owner) == 1 then redis.call('ZREM', tag .. ':stones', owner) end
  if #args > 10 then
    local at, request = args[11], args[15]
    commit(tag, at)
    local oldest = at
    if args[13] ~= '0' then
      redis.call('RPUSH', tag .. ':l:' .. owner, args[12] .. ':' .. args[13] .. ':' .. args[14])
      if tonumber(args[12]) < tonumber(at) then oldest = args[12] end
    end
    redis.call('SET', tag .. ':a:' .. owner .. ':' .. request, args[16])
    redis.call('ZREMRANGEBYSCORE', tag .. ':d:' .. owner, '-inf', '(' .. whole(at - DAY))
    redis.call('ZADD', tag .. ':d:' .. owner, at, request)
    redis.call('ZADD', tag .. ':pages', 'LT', oldest, owner)
    redis.call('XADD', tag .. ':outbox', '*', 'k', 'p', 'o', owner, 'r', request, 't', at, 'u', new,
      'x', args[17])
  end
  return {'ok', new}
end

-- owner, number, fresh, at, stamp, then of each event: its place in what was sent, hidden id, itself
local function append(keys, args)
  local tag, owner, at = keys[1], args[1], args[4]
  local other = other_key(tag, owner, args[2], args[3])
  if other then return other end
  local accepted, first, places = 0, next_number(tag, 'q'), {}
  for n = 6, #args, 3 do
    if redis.call('SADD', tag .. ':i:' .. owner, args[n + 1]) == 1 then
      local place = whole(first + accepted) .. '-0'
      redis.call('XADD', tag .. ':v:' .. owner, place, 'r', at, 'i', args[n + 1], 'e', args[n + 2])
      accepted = accepted + 1
      places[accepted] = args[n]
    end
  end
  commit(tag, at)
  if accepted == 0 then  -- perhaps sent again: WAIT waits for what this connection wrote, so it must write
    redis.call('HSET', tag .. ':meta', 'again', at)
  else
    redis.call('HSET', tag .. ':meta', 'q', whole(first + accepted - 1))
    redis.call('ZADD', tag .. ':waiting', 'LT', at, owner)
    redis.call('XADD', tag .. ':outbox', '*', 'k', 'e', 'o', owner, 'q', whole(first), 'j', table.concat(places, ','),
      'r', at, 's', args[5])
  end
  return {'ok', accepted}
end

-- owner, cut-off
local function forget(keys, args)
  redis.call('ZADD', keys[1] .. ':forgotten', 'GT', args[2], args[1])
  return 1
end

local function delivered(pages)
  local n = 0
  for _, page in ipairs(pages) do n = n + tonumber(string.match(page, '^%-?%d+:(%d+):')) end
  return n
end

-- owner, at, version ('' = whatever), last event ('' = whatever), tombstone ('' = none), entry of the audit log
local function erase(keys, args)
  local tag, owner, at = keys[1], args[1], args[2]
  local newest = redis.call('XREVRANGE', tag .. ':v:' .. owner, '+', '-', 'COUNT', 1)[1]
  local seq = newest and tonumber(string.match(newest[1], '^%d+')) or 0
  if args[3] ~= '' and version_of(tag, owner) ~= args[3] then return {'no'} end
  if args[4] ~= '' and seq > tonumber(args[4]) then return {'no'} end
  local requests = redis.call('ZRANGE', tag .. ':d:' .. owner, 0, -1)
  for _, request in ipairs(requests) do redis.call('DEL', tag .. ':a:' .. owner .. ':' .. request) end
  local deleted = {
    'ok', redis.call('DEL', tag .. ':u:' .. owner), delivered(redis.call('LRANGE', tag .. ':l:' .. owner, 0, -1)),
    requests, redis.call('XLEN', tag .. ':v:' .. owner),
  }
  for _, kind in ipairs({':k:', ':t:', ':l:', ':d:', ':v:', ':i:'}) do redis.call('DEL', tag .. kind .. owner) end
  for _, index in ipairs({':pages', ':waiting', ':stones'}) do redis.call('ZREM', tag .. index, owner) end
  commit(tag, at)
  forget(keys, {owner, at})
  local new = whole(next_number(tag, 'v'))
  redis.call('HSET', tag .. ':meta', 'v', new, 'shred', new)
  if tonumber(redis.call('HGET', tag .. ':meta', 'q') or '0') < tonumber(new) then  -- later events have later numbers
    redis.call('HSET', tag .. ':meta', 'q', new)
  end
  if args[5] ~= '' then
    redis.call('HSET', tag .. ':t:' .. owner, 'v', new, 's', args[5])
    redis.call('ZADD', tag .. ':stones', at, owner)
  end
  redis.call('XADD', tag .. ':outbox', '*', 'k', 'a', 'u', new, 'x', args[6])
  redis.call('XADD', tag .. ':outbox', '*', 'k', 'x', 'o', owner, 't', at, 'u', new)
  return deleted
end

local function field(entry, name)
  for n = 1, #entry[2], 2 do
    if entry[2][n] == name then return entry[2][n + 1] end
  end
end

-- how many, after which ('' = any), with answers: the oldest entries of the outbox, each with the answer that it names
local function take(keys, args)
  local start = args[2] == '' and '-' or '(' .. args[2]
  local entries = redis.call('XRANGE', keys[1] .. ':outbox', start, '+', 'COUNT', args[1])
  for _, entry in ipairs(entries) do
    if args[3] == '1' and field(entry, 'k') == 'p' then
      local name = keys[1] .. ':a:' .. field(entry, 'o') .. ':' .. field(entry, 'r')
      entry[3] = redis.call('GET', name) or ''
    end
  end
  return entries
end

-- ids of entries that are added up and in the sink: from now on an answer stays a day
local function done(keys, args)
  local tag = keys[1]
  for _, id in ipairs(args) do
    local entry = redis.call('XRANGE', tag .. ':outbox', id, id)[1]
    if entry then
      redis.call('XDEL', tag .. ':outbox', id)
      if field(entry, 'k') == 'p' then
        local owner, request = field(entry, 'o'), field(entry, 'r')
        local at = redis.call('ZSCORE', tag .. ':d:' .. owner, request)
        if not at or tonumber(at) == tonumber(field(entry, 't')) then  -- else it was replaced, and is to be moved still
          redis.call('PEXPIRE', tag .. ':a:' .. owner .. ':' .. request, DAY)
        end
      end
    end
  end
  return #args
end

-- the last erasure that the rewritten log of the server lacks
local function rewritten(keys, args)
  if redis.call('HGET', keys[1] .. ':meta', 'shred') == args[1] then redis.call('HDEL', keys[1] .. ':meta', 'shred') end
  return 1
end

-- how long in ms what is counted may be wrong: more than was noted may be lost
local function doubt(keys, args)
  redis.call('HSET', keys[1] .. ':meta', 'doubt', whole(micros() + tonumber(args[1]) * 1000))
  return 1
end

-- former run, run, place, how long in ms what is counted may be wrong ('' = it is not): a tag has come to another run
local function follow(keys, args)
  local meta = keys[1] .. ':meta'
  if (redis.call('HGET', meta, 'run') or '') ~= args[1] then return 0 end
  redis.call('HSET', meta, 'run', args[2], 'place', args[3])
  return args[4] == '' and 1 or doubt(keys, {args[4]})
end

-- at: the last committed time, in any case; or, with 'max', only forwards
local function set_time(keys, args)
  if args[2] == 'max' then commit(keys[1], args[1]) else redis.call('HSET', keys[1] .. ':meta', 'c', args[1]) end
  return 1
end

local function prune_pages(tag, owner, deliveries, decisions)
  local deleted, oldest, name = 0, nil, tag .. ':l:' .. owner
  local pages = redis.call('LRANGE', name, 0, -1)
  local function keep(at) if not oldest or at < oldest then oldest = at end end
  for _, page in ipairs(pages) do
    local at = tonumber(string.match(page, '^%-?%d+'))
    if at < deliveries then deleted = deleted + redis.call('LREM', name, 1, page) else keep(at) end
  end
  local old = redis.call('ZRANGEBYSCORE', tag .. ':d:' .. owner, '-inf', '(' .. whole(decisions))
  for _, request in ipairs(old) do
    redis.call('DEL', tag .. ':a:' .. owner .. ':' .. request)
    redis.call('ZREM', tag .. ':d:' .. owner, request)
  end
  local first = redis.call('ZRANGE', tag .. ':d:' .. owner, 0, 0, 'WITHSCORES')[2]
  if first and not oldest then keep(tonumber(first) + (deliveries - decisions)) end
  if oldest then redis.call('ZADD', tag .. ':pages', oldest, owner) else redis.call('ZREM', tag .. ':pages', owner) end
  return deleted, #pages + #old
end

local function prune_events(tag, owner, before)
  local deleted, oldest, name = 0, nil, tag .. ':v:' .. owner
  local entries = redis.call('XRANGE', name, '-', '+')
  for _, entry in ipairs(entries) do
    local at = tonumber(field(entry, 'r'))
    if at < before then
      redis.call('XDEL', name, entry[1])
      redis.call('SREM', tag .. ':i:' .. owner, field(entry, 'i'))
      deleted = deleted + 1
    elseif not oldest or at < oldest then
      oldest = at
    end
  end
  if oldest then
    redis.call('ZADD', tag .. ':waiting', oldest, owner)
  else
    redis.call('DEL', name, tag .. ':i:' .. owner)
    redis.call('ZREM', tag .. ':waiting', owner)
  end
  return deleted, #entries
end

-- deliveries, decisions, events: what is older goes; and how many entries are enough for one step, in which whoever is
-- begun is ended. Returns rows, and whether that is all
local function prune(keys, args)
  local tag, most = keys[1], tonumber(args[4])
  local deleted, looked_at = {0, 0}, 0
  local function each(index, before, kind, prune_one)
    for _, owner in ipairs(redis.call('ZRANGEBYSCORE', tag .. index, '-inf', '(' .. before, 'LIMIT', 0, most)) do
      if looked_at >= most then return end
      local n, looked = prune_one(owner)
      deleted[kind], looked_at = deleted[kind] + n, looked_at + looked + 1
    end
  end
  each(':pages', args[1], 1, function(owner) return prune_pages(tag, owner, tonumber(args[1]), tonumber(args[2])) end)
  each(':waiting', args[3], 2, function(owner) return prune_events(tag, owner, tonumber(args[3])) end)
  return {deleted[1], deleted[2], looked_at < most and 1 or 0}
end

-- tombstones, cut-offs: what is older goes, but of those that follow in pairs (owner, bare tombstone) the hash stays
local function prune_stones(keys, args)
  local tag, known, stones = keys[1], {}, 0
  for n = 3, #args, 2 do
    local score = redis.call('ZSCORE', tag .. ':stones', args[n])
    if score and tonumber(score) < tonumber(args[1]) then
      redis.call('HSET', tag .. ':t:' .. args[n], 's', args[n + 1])
      redis.call('ZADD', tag .. ':stones', args[1], args[n])
      if redis.call('ZSCORE', tag .. ':forgotten', args[n]) then
        redis.call('ZADD', tag .. ':forgotten', 'GT', args[2], args[n])
      end
    end
  end
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', tag .. ':stones', '-inf', '(' .. args[1])) do
    redis.call('DEL', tag .. ':t:' .. owner)
    stones = stones + redis.call('ZREM', tag .. ':stones', owner)
  end
  return {stones, redis.call('ZREMRANGEBYSCORE', tag .. ':forgotten', '-inf', '(' .. args[2])}
end

