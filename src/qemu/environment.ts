import { pickBaseEnvironment } from '../common/process/environment.js'
import type { HostUser } from '../common/process/host-user.js'

/** Environment variables for a text screen and a window, in addition to those of all tools. */
const SCREEN_NAMES = ['TERM', 'TERMINFO', 'XDG_RUNTIME_DIR', 'DISPLAY', 'WAYLAND_DISPLAY', 'XAUTHORITY']

/** Returns the environment of QEMU, with the home folder of `user`. Pure. */
export function pickQemuEnvironment(env: NodeJS.ProcessEnv, user?: HostUser): Record<string, string> {
  const picked = pickBaseEnvironment(env, SCREEN_NAMES)
  return user === undefined ? picked : { ...picked, HOME: user.home }
}
