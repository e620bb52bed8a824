import type { HostUser } from '../common/host-user.js'

/**
 * What a QEMU may need to know of this process's environment: where libraries, modules and its own settings lie, and for
 * its messages the language and the time. Tokens and passwords, which CI hands out in variables, are none of its business.
 */
const NAMES = [
  'PATH',
  'HOME',
  'LANG',
  'TZ',
  'LD_LIBRARY_PATH',
  'LD_PRELOAD',
  'DYLD_LIBRARY_PATH',
  // For a text screen, and for a window.
  'TERM',
  'TERMINFO',
  'XDG_RUNTIME_DIR',
  'DISPLAY',
  'WAYLAND_DISPLAY',
  'XAUTHORITY',
]
const PREFIXES = ['LC_', 'QEMU_', 'NIX_LD', 'ASAN_', 'UBSAN_', 'G_']

/** The part of an environment that is handed to QEMU. Another user is at home elsewhere. Pure. */
export function pickQemuEnvironment(env: NodeJS.ProcessEnv, user?: HostUser): Record<string, string> {
  const isWanted = (name: string) =>
    NAMES.includes(name) || PREFIXES.some((prefix) => name.startsWith(prefix))
  const picked = Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] => isWanted(entry[0]) && entry[1] !== undefined,
    ),
  )
  return user === undefined ? picked : { ...picked, HOME: user.home }
}
