/** Variables that programs of the host need to start: where libraries and settings are, the language and the time zone. */
const BASE_NAMES = ['PATH', 'HOME', 'LANG', 'TZ', 'LD_LIBRARY_PATH', 'LD_PRELOAD', 'DYLD_LIBRARY_PATH']
const BASE_PREFIXES = ['LC_', 'QEMU_', 'NIX_LD', 'ASAN_', 'UBSAN_', 'G_']

const TOOL_NAMES = ['TMPDIR', 'USER', 'LOGNAME']

/** Settings of the network: proxies, in both spellings that are in use, certificates, and the host's own apt configuration. */
const NETWORK_NAME = /^((http|https|ftp|all|no)_proxy|ssl_cert_(file|dir)|apt_config)$/i

/** The variables that QEMU and the tools need. Tokens and passwords, which CI passes in variables, are left out. Pure. */
export function pickBaseEnvironment(
  env: NodeJS.ProcessEnv,
  more: readonly string[] = [],
): Record<string, string> {
  const isWanted = (name: string) =>
    BASE_NAMES.includes(name) ||
    more.includes(name) ||
    BASE_PREFIXES.some((prefix) => name.startsWith(prefix))
  return pick(env, isWanted)
}

/** The variables for a tool such as `qemu-img`; with `usesNetwork`, also the proxy settings; and `more` by name. Pure. */
export function pickToolEnvironment(
  env: NodeJS.ProcessEnv,
  {
    usesNetwork = false,
    more = [],
  }: { readonly usesNetwork?: boolean | undefined; readonly more?: readonly string[] } = {},
): Record<string, string> {
  const network = usesNetwork ? pick(env, (name) => NETWORK_NAME.test(name)) : {}
  return { ...pickBaseEnvironment(env, [...TOOL_NAMES, ...more]), ...network }
}

function pick(env: NodeJS.ProcessEnv, isWanted: (name: string) => boolean): Record<string, string> {
  const entries = Object.entries(env).filter(
    (entry): entry is [string, string] => isWanted(entry[0]) && entry[1] !== undefined,
  )
  return Object.fromEntries(entries)
}
