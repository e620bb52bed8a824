import { pickBaseEnvironment } from '../common/process/environment.js'

/** Environment variables for a text screen and a window, in addition to those of all tools. */
const SCREEN_NAMES = ['TERM', 'TERMINFO', 'XDG_RUNTIME_DIR', 'DISPLAY', 'WAYLAND_DISPLAY', 'XAUTHORITY']

/** Returns the environment of QEMU. Pure. */
export function pickQemuEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  return pickBaseEnvironment(env, SCREEN_NAMES)
}
