import type { DisplayOptionGroup } from '../spec/options/display.js'
import { type PackageManager, readDistribution } from './distribution.js'
import { runProgram } from './program.js'
import type { QemuBinary } from './qemu-binary.js'

/** Display option that QEMU does not support. */
export interface MissingScreen {
  readonly option: 'display' | 'vga' | 'spice'
  readonly got: string
  /** Package to install, or option to use instead. */
  readonly expected: string
}

type RequestedScreens = Pick<DisplayOptionGroup, 'display' | 'vga' | 'spice'>

const HELP_TIMEOUT_MS = 15_000

/** Packages that contain the display modules of QEMU. */
const PACKAGES: Readonly<Record<string, Partial<Record<PackageManager, string>>>> = {
  gtk: { apt: 'qemu-system-gui', dnf: 'qemu-ui-gtk' },
  sdl: { apt: 'qemu-system-gui', dnf: 'qemu-ui-sdl' },
  curses: { apt: 'qemu-system-common', dnf: 'qemu-ui-curses' },
  spice: { apt: 'qemu-system-modules-spice', dnf: 'qemu-ui-spice-core' },
  qxl: { apt: 'qemu-system-modules-spice', dnf: 'qemu-device-display-qxl' },
  virtio: { apt: 'qemu-system-common', dnf: 'qemu-device-display-virtio-vga' },
}

/**
 * Finds the display options that QEMU does not support. The result is not cached: display modules
 * come in separate packages, which can be installed without a change of the binary.
 */
export async function findMissingScreens(
  qemu: QemuBinary,
  { display = 'none', vga = 'none', spice = false }: RequestedScreens,
  packageManager: PackageManager | undefined = readDistribution().packageManager,
): Promise<MissingScreen[]> {
  const queryHelp = async (option: string) => {
    const { stdout, stderr } = await runProgram(qemu.path, [`-${option}`, 'help'], {
      endsWithParent: true,
      timeoutMs: HELP_TIMEOUT_MS,
    })
    return { text: `${stdout}\n${stderr}`, words: stdout.split(/\s+/) }
  }
  const missing: MissingScreen[] = []
  const report = (option: MissingScreen['option'], name: string, others: string) => {
    const known = packageManager === undefined ? undefined : PACKAGES[name]?.[packageManager]
    const got =
      option === 'spice' ? 'SPICE, which this QEMU cannot load' : `'${name}', which this QEMU cannot load`
    const expected = `${known === undefined ? `QEMU with the module for ${name}` : `QEMU with the package ${known}`}, or ${others}`
    missing.push({ option, got, expected })
  }
  if (display !== 'none') {
    const { words } = await queryHelp('display')
    if (!words.includes(display)) report('display', display, "display: 'none' with `vnc: true`")
  }
  if (vga !== 'none' && vga !== 'std') {
    const { words } = await queryHelp('vga')
    if (!words.includes(vga)) report('vga', vga, "vga: 'std'")
  }
  if (spice !== false) {
    const { text } = await queryHelp('spice')
    if (!/spice options/i.test(text)) report('spice', 'spice', '`vnc: true`')
  }
  return missing
}
