import { vmError } from '../errors.js'

/** Variables with the address of a proxy, as undici and curl read them. */
const PROXY_VARIABLES = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY']

let proxied: Promise<typeof fetch> | undefined

/**
 * Returns the function that downloads. If the environment specifies a proxy, it is undici's
 * `fetch`, which uses that proxy and respects `NO_PROXY`. The global `fetch` of Node.js ignores
 * these settings unless Node.js 24 is started with `NODE_USE_ENV_PROXY=1`. The global `fetch` of
 * Bun respects them.
 */
export async function findFetch(): Promise<typeof fetch> {
  if (listProxySettings() === '' || process.versions.bun !== undefined) return fetch
  proxied ??= loadProxied()
  return proxied
}

async function loadProxied(): Promise<typeof fetch> {
  const undici = await import('undici')
  let dispatcher: InstanceType<typeof undici.EnvHttpProxyAgent>
  try {
    // `proxyTunnel`: many proxies refuse CONNECT for http, and curl does not use it either.
    dispatcher = new undici.EnvHttpProxyAgent({ proxyTunnel: false })
  } catch {
    // Without the cause, which contains the password.
    throw vmError('IMAGE_FETCH_FAILED', {
      summary: 'A proxy setting of the environment is not a URL.',
      expected: 'http://HOST:PORT',
      got: listProxySettings(),
      hint: 'Correct or unset the variable.',
    })
  }
  // The types of undici are those of another version than the ones of Node.js.
  return ((url: string, init: object) => undici.fetch(url, { ...init, dispatcher })) as never
}

/**
 * Returns the proxy settings of the environment, without credentials, such as
 * `HTTPS_PROXY=http://proxy.example:3128`. Empty without one.
 */
export function listProxySettings(env: NodeJS.ProcessEnv = process.env): string {
  return PROXY_VARIABLES.filter((name) => Boolean(env[name]))
    .map((name) => `${name}=${(env[name] as string).replace(/^(\w+:\/\/)?.*@/, '$1***@')}`)
    .join(', ')
}
