import { pickBaseEnvironment } from '../common/process/environment.js'
import type { HostUser } from '../common/process/host-user.js'

/** What QEMU needs of this process's environment beside what every tool needs: for a text screen, and for a window. */
const SCREEN_NAMES = ['TERM', 'TERMINFO', 'XDG_RUNTIME_DIR', 'DISPLAY', 'WAYLAND_DISPLAY', 'XAUTHORITY']

/** The part of an environment that is handed to QEMU. Another user is at home elsewhere. Pure. */
export function pickQemuEnvironment(env: NodeJS.ProcessEnv, user?: HostUser): Record<string, string> {
  const picked = pickBaseEnvironment(env, SCREEN_NAMES)
  return user === undefined ? picked : { ...picked, HOME: user.home }
}
