/**
 * Variables that host programs need to start: paths of libraries and settings, language, time zone.
 */
const BASE_NAMES = ['PATH', 'HOME', 'LANG', 'TZ', 'LD_LIBRARY_PATH', 'LD_PRELOAD', 'DYLD_LIBRARY_PATH']
const BASE_PREFIXES = ['LC_', 'QEMU_', 'NIX_LD', 'ASAN_', 'UBSAN_', 'G_']

const TOOL_NAMES = ['TMPDIR', 'USER', 'LOGNAME']

/**
 * Network settings: proxies in both spellings, certificates, and the apt configuration of the host.
 */
const NETWORK_NAME = /^((http|https|ftp|all|no)_proxy|ssl_cert_(file|dir)|apt_config)$/i

/**
 * Returns the variables that QEMU and tools need. Tokens and passwords, which CI passes in
 * variables, are left out. Pure.
 */
export function pickBaseEnvironment(
  env: NodeJS.ProcessEnv,
  more: readonly string[] = [],
): Record<string, string> {
  const isSelected = (name: string) =>
    BASE_NAMES.includes(name) ||
    more.includes(name) ||
    BASE_PREFIXES.some((prefix) => name.startsWith(prefix))
  return filterEnvironment(env, isSelected)
}

/**
 * Returns the variables for a tool such as `qemu-img`, with the proxy settings if `usesNetwork` is
 * true, and the variables named in `more`. Pure.
 */
export function pickToolEnvironment(
  env: NodeJS.ProcessEnv,
  {
    usesNetwork = false,
    more = [],
  }: { readonly usesNetwork?: boolean | undefined; readonly more?: readonly string[] } = {},
): Record<string, string> {
  const network = usesNetwork ? filterEnvironment(env, (name) => NETWORK_NAME.test(name)) : {}
  return { ...pickBaseEnvironment(env, [...TOOL_NAMES, ...more]), ...network }
}

function filterEnvironment(
  env: NodeJS.ProcessEnv,
  isSelected: (name: string) => boolean,
): Record<string, string> {
  const entries = Object.entries(env).filter(
    (entry): entry is [string, string] => isSelected(entry[0]) && entry[1] !== undefined,
  )
  return Object.fromEntries(entries)
}
