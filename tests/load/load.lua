-- What wrk sends. Arguments: kind (join, visit, get), a name for this run's addresses, a path (visit: the CSS).
-- Clients are spread over 65,536 addresses, as one trusted proxy would report them.

local kind, run, path
local count = 0

local function client()
  return string.format("X-Forwarded-For: 10.9.%d.%d\r\n", math.floor(count / 256) % 256, count % 256)
end

local function head(method, target)
  return method .. " " .. target .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\n" ..
    "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n" .. client()
end

local function get(target)
  return head("GET", target) .. "\r\n"
end

local function post(target, content_type, body)
  return head("POST", target) .. "Content-Type: " .. content_type .. "\r\nContent-Length: " .. #body .. "\r\n" ..
    "Origin: http://" .. wrk.headers["Host"] .. "\r\nSec-Fetch-Site: same-origin\r\n\r\n" .. body
end

local function address()
  return string.format("%s-%09d@example.com", run, count)
end

local kinds = {
  join = function() return post("/api/v1/waitlist", "application/json", '{"email":"' .. address() .. '"}') end,
  get = function() return get(path) end,
  -- Each of the four steps has an equal share; which connection takes which does not matter to the server.
  visit = function()
    local step = count % 4
    if step == 0 then return get("/") end
    if step == 1 then return get(path) end
    if step == 2 then
      return post("/", "application/x-www-form-urlencoded", "email=" .. address():gsub("@", "%%40") .. "&source=&website=")
    end
    return get("/thanks")
  end,
}

function init(arguments)
  kind, run, path = kinds[arguments[1]], arguments[2], arguments[3]
end

function request()
  count = count + 1
  return kind()
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "slowest": %f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, latency.max / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
