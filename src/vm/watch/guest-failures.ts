import { type VMError, vmError } from '../../errors.js'

interface GuestFailureRow {
  readonly pattern: RegExp
  readonly code: 'GUEST_PANICKED' | 'GUEST_FAILED' | 'GUEST_STOPPED'
  readonly summary: string
  readonly hint: string
  /**
   * What it ends. `always`: the guest is lost, ready or not. `waits`: a start, and waits during which it comes; a test may
   * want to see it happen. `start`: only a start; a test of a firmware or a boot loader is at home there.
   */
  readonly ends: 'always' | 'waits' | 'start'
}

const PANIC = {
  code: 'GUEST_PANICKED',
  summary: "the guest's kernel panicked",
  ends: 'always',
} as const
const NO_ROOT = {
  code: 'GUEST_FAILED',
  summary: 'the guest dropped to the shell of its initramfs: it did not find its root disk',
  hint: 'check `root=` in the kernel arguments, and that the initrd has the driver of the disk.',
  ends: 'waits',
} as const
const NO_INIT = 'is there one, is it executable, and are its interpreter and libraries there?'

/**
 * Lines of the serial console after which a guest will not get ready any more, in the words of those who print them. The
 * first row that fits counts. A repetition in a pattern is bounded: the time of `.*` grows with the square of a hostile line.
 */
const ROWS: readonly GuestFailureRow[] = [
  {
    ...PANIC,
    pattern: /Kernel panic - not syncing: VFS: Unable to mount root/,
    hint: 'the kernel did not find its root disk: check `root=` in the kernel arguments, and that the driver of the disk is in the kernel or in the initrd.',
  },
  {
    ...PANIC,
    pattern: /Kernel panic - not syncing: (No working init found|Requested init \S+ failed)/,
    hint: `the kernel could start no init: ${NO_INIT} \`init=\` names it.`,
  },
  {
    ...PANIC,
    pattern: /Kernel panic - not syncing: Attempted to kill init/,
    hint: 'process 1 ended, which it must not: the lines above the panic say why.',
  },
  {
    ...PANIC,
    pattern: /Kernel panic - not syncing: (Out of memory|System is deadlocked on memory)/,
    hint: 'give it more `memory`.',
  },
  { ...PANIC, pattern: /Kernel panic - not syncing/, hint: 'the lines above the panic say why.' },
  {
    // initramfs-tools, where it finds the root disk, but nothing on it to start.
    pattern: /No init found\. Try passing init= bootarg/,
    code: 'GUEST_FAILED',
    summary: 'the guest dropped to the shell of its initramfs: it found no init on its root disk',
    hint: `${NO_INIT} \`init=\` names it; \`root=\` may name another disk.`,
    ends: 'waits',
  },
  // initramfs-tools (Debian, Ubuntu); dracut (Fedora, SUSE); mkinitcpio (Arch).
  {
    ...NO_ROOT,
    pattern: /^\(initramfs\)|ALERT!.{0,200}does not exist|Dropping to a shell/,
  },
  { ...NO_ROOT, pattern: /^Generating "\/run\/initramfs\/rdsosreport\.txt"|^dracut:\/#/ },
  { ...NO_ROOT, pattern: /You are now being dropped into an emergency shell/ },
  {
    // systemd, sulogin, and dracut once its initrd has systemd.
    pattern:
      /You are in (emergency|rescue) mode|Entering emergency mode\. Exit the shell|Give root password for maintenance|Press Enter for maintenance|Cannot open access to console, the root account is locked/,
    code: 'GUEST_FAILED',
    summary: 'the guest dropped to the emergency shell of its init system',
    hint: 'look for the unit that failed above; often a mount in /etc/fstab that is not there.',
    ends: 'waits',
  },
  {
    pattern: /^grub rescue>/,
    code: 'GUEST_FAILED',
    summary: 'the boot loader GRUB dropped to its rescue shell: it did not find its own files',
    hint: 'the line above names what it looked for: the partition or disk of /boot is another than when GRUB was installed.',
    ends: 'start',
  },
  {
    pattern: /Minimal BASH-like line editing is supported|^grub>/,
    code: 'GUEST_FAILED',
    summary: 'the boot loader GRUB has no menu: it waits at its command line',
    hint: 'is there a grub.cfg where it looks (`echo $prefix` at its prompt tells)?',
    ends: 'start',
  },
  {
    pattern:
      /Unable to locate configuration file|No configuration file found|Failed to load ldlinux\.(c32|e32|e64)/,
    code: 'GUEST_FAILED',
    summary: 'the boot loader PXELINUX did not find its own files',
    hint: 'ldlinux.c32 and pxelinux.cfg/default have to lie beside pxelinux.0.',
    ends: 'start',
  },
  {
    pattern: /UEFI Interactive Shell v|BdsDxe: No bootable option or device was found/,
    code: 'GUEST_FAILED',
    summary: 'the UEFI firmware found nothing to boot',
    hint: 'does the disk have an EFI system partition with \\EFI\\BOOT\\BOOTX64.EFI? One that was made for BIOS needs BIOS.',
    ends: 'start',
  },
  {
    pattern: /No bootable device/,
    code: 'GUEST_FAILED',
    summary: 'the firmware found nothing to boot',
    hint: 'is the image a bootable disk? A file system or a data disk alone needs a `kernel`.',
    ends: 'start',
  },
  {
    pattern: /Oops: .{0,200}\[#\d+\]|BUG: unable to handle|general protection fault.{0,200}\[#\d+\]/,
    code: 'GUEST_FAILED',
    summary: "the guest's kernel oopsed",
    hint: 'the trace above names the function.',
    ends: 'waits',
  },
  {
    pattern: /Out of memory: Killed process/,
    code: 'GUEST_FAILED',
    summary: 'the guest ran out of memory and killed a process',
    hint: 'give it more `memory`.',
    ends: 'waits',
  },
  {
    pattern: /reboot: System halted/,
    code: 'GUEST_STOPPED',
    summary: 'the guest halted',
    hint: 'look above for what asked for it.',
    ends: 'always',
  },
]

/** Most lines are none of them: one pattern tells. */
const ANY = new RegExp(ROWS.map(({ pattern }) => `(?:${pattern.source})`).join('|'))

/** What a guest is in the middle of: its start, a wait of a test, or anything else. */
export type GuestPhase = 'start' | 'wait' | 'other'

const ENDED: Readonly<Record<GuestPhase, readonly GuestFailureRow['ends'][]>> = {
  start: ['always', 'waits', 'start'],
  wait: ['always', 'waits'],
  other: ['always'],
}

/** The failure that a line of the serial console tells of. */
export function findGuestFailure(line: string, phase: GuestPhase): VMError | undefined {
  if (!ANY.test(line)) return undefined
  const row = ROWS.find(({ pattern, ends }) => ENDED[phase].includes(ends) && pattern.test(line))
  if (row === undefined) return undefined
  const { code, summary, hint } = row
  return vmError(code, { summary: `${capitalise(summary)}.`, got: line.trim(), hint })
}

function capitalise(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
