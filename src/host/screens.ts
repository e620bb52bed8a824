import type { DisplayOptionGroup } from '../spec/options/display.js'
import { type PackageManager, readDistribution } from './distribution.js'
import { runProgram } from './program.js'
import type { QemuBinary } from './qemu-binary.js'

/** Something of the display that this QEMU lacks. */
export interface MissingScreen {
  readonly option: 'display' | 'vga' | 'spice'
  readonly got: string
  /** What to do about it, or use in its place. */
  readonly expected: string
}

type Wanted = Pick<DisplayOptionGroup, 'display' | 'vga' | 'spice'>

const HELP_MS = 15_000

/** The packages that distributions keep these modules of QEMU in. */
const PACKAGES: Readonly<Record<string, Partial<Record<PackageManager, string>>>> = {
  gtk: { apt: 'qemu-system-gui', dnf: 'qemu-ui-gtk' },
  sdl: { apt: 'qemu-system-gui', dnf: 'qemu-ui-sdl' },
  curses: { apt: 'qemu-system-common', dnf: 'qemu-ui-curses' },
  spice: { apt: 'qemu-system-modules-spice', dnf: 'qemu-ui-spice-core' },
  qxl: { apt: 'qemu-system-modules-spice', dnf: 'qemu-device-display-qxl' },
  virtio: { apt: 'qemu-system-common', dnf: 'qemu-device-display-virtio-vga' },
}

/**
 * Asks QEMU for what of the display it can load at this moment: these modules come in packages of their own, so that what
 * was true of a binary a day ago need not be so now.
 */
export async function findMissingScreens(
  qemu: QemuBinary,
  { display = 'none', vga = 'none', spice = false }: Wanted,
  packageManager: PackageManager | undefined = readDistribution().packageManager,
): Promise<MissingScreen[]> {
  const ask = async (option: string) => {
    const { stdout, stderr } = await runProgram(qemu.path, [`-${option}`, 'help'], {
      endsWithUs: true,
      timeoutMs: HELP_MS,
    })
    return { text: `${stdout}\n${stderr}`, words: stdout.split(/\s+/) }
  }
  const missing: MissingScreen[] = []
  const tell = (option: MissingScreen['option'], name: string, others: string) => {
    const known = packageManager === undefined ? undefined : PACKAGES[name]?.[packageManager]
    const got =
      option === 'spice' ? 'SPICE, which this QEMU cannot load' : `'${name}', which this QEMU cannot load`
    const expected = `${known === undefined ? `QEMU's module for ${name}` : `the package ${known}`} to be installed, or ${others}`
    missing.push({ option, got, expected })
  }
  if (display !== 'none') {
    const { words } = await ask('display')
    if (!words.includes(display)) tell('display', display, "display: 'none' with `vnc: true`")
  }
  if (vga !== 'none' && vga !== 'std') {
    const { words } = await ask('vga')
    if (!words.includes(vga)) tell('vga', vga, "vga: 'std'")
  }
  if (spice !== false) {
    const { text } = await ask('spice')
    if (!/spice options/i.test(text)) tell('spice', 'spice', '`vnc: true`')
  }
  return missing
}
