import { type VMError, vmError } from '../../errors.js'

interface GuestFailureRow {
  readonly pattern: RegExp
  readonly code: 'GUEST_PANICKED' | 'GUEST_FAILED' | 'GUEST_STOPPED'
  readonly summary: string
  readonly hint: string
  /**
   * Operations that the failure ends. `always`: the guest is lost, ready or not. `waits`: a start,
   * and waits during which the line appears; outside of these, a test may provoke it. `start`: only
   * a start; tests of firmware or boot loaders expect these lines.
   */
  readonly ends: 'always' | 'waits' | 'start'
}

const PANIC = {
  code: 'GUEST_PANICKED',
  summary: "The guest's kernel panicked.",
  ends: 'always',
} as const
const NO_ROOT = {
  code: 'GUEST_FAILED',
  summary: 'The guest dropped to its initramfs shell: it did not find its root disk.',
  hint: 'Check `root=` in the kernel arguments, and that the initrd contains the driver of the disk.',
  ends: 'waits',
} as const
const CHECK_INIT =
  'Check the init program: does it exist, is it executable, and do its interpreter and libraries exist?'

/**
 * Lines of the serial console after which a guest can no longer become ready. The patterns match
 * the messages of the programs that print them. The first matching row is used. Repetitions are
 * bounded: the time of `.*` grows with the square of the length of a hostile line.
 */
const ROWS: readonly GuestFailureRow[] = [
  {
    ...PANIC,
    pattern: /Kernel panic - not syncing: VFS: Unable to mount root/,
    hint: 'Check `root=` in the kernel arguments, and that the driver of the root disk is in the kernel or in the initrd.',
  },
  {
    ...PANIC,
    pattern: /Kernel panic - not syncing: (No working init found|Requested init \S+ failed)/,
    hint: `${CHECK_INIT} Its path is set with \`init=\`.`,
  },
  {
    ...PANIC,
    pattern: /Kernel panic - not syncing: Attempted to kill init/,
    hint: 'Read the lines above the panic for why process 1 exited.',
  },
  {
    ...PANIC,
    pattern: /Kernel panic - not syncing: (Out of memory|System is deadlocked on memory)/,
    hint: 'Give the guest more `memory`.',
  },
  { ...PANIC, pattern: /Kernel panic - not syncing/, hint: 'Read the lines above the panic for its cause.' },
  {
    // initramfs-tools, if the root disk exists but contains no init.
    pattern: /No init found\. Try passing init= bootarg/,
    code: 'GUEST_FAILED',
    summary: 'The guest dropped to its initramfs shell: it found no init on its root disk.',
    hint: `${CHECK_INIT} Its path is set with \`init=\`, its disk with \`root=\`.`,
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
    summary: 'The guest dropped to the emergency shell of its init system.',
    hint: 'Find the failed unit above; often it is a mount of /etc/fstab whose disk does not exist.',
    ends: 'waits',
  },
  {
    pattern: /^grub rescue>/,
    code: 'GUEST_FAILED',
    summary: 'The boot loader GRUB dropped to its rescue shell: it did not find its own files.',
    hint: 'Reinstall GRUB: the partition or disk of /boot changed since its installation. The line above names the missing file.',
    ends: 'start',
  },
  {
    pattern: /Minimal BASH-like line editing is supported|^grub>/,
    code: 'GUEST_FAILED',
    summary: 'The boot loader GRUB has no menu: it waits at its command line.',
    hint: 'Run `echo $prefix` at the GRUB prompt, and check that this folder contains grub.cfg.',
    ends: 'start',
  },
  {
    pattern:
      /Unable to locate configuration file|No configuration file found|Failed to load ldlinux\.(c32|e32|e64)/,
    code: 'GUEST_FAILED',
    summary: 'The boot loader PXELINUX did not find its own files.',
    hint: 'Serve ldlinux.c32 and pxelinux.cfg/default from the folder of pxelinux.0.',
    ends: 'start',
  },
  {
    pattern: /UEFI Interactive Shell v|BdsDxe: No bootable option or device was found/,
    code: 'GUEST_FAILED',
    summary: 'The UEFI firmware found nothing to boot.',
    hint: 'Check that the disk has an EFI system partition with \\EFI\\BOOT\\BOOTX64.EFI. Use BIOS for a disk that was made for BIOS.',
    ends: 'start',
  },
  {
    pattern: /No bootable device/,
    code: 'GUEST_FAILED',
    summary: 'The firmware found nothing to boot.',
    hint: 'Check that the image is a bootable disk. Set `kernel` for a file system image or a data disk.',
    ends: 'start',
  },
  {
    pattern: /Oops: .{0,200}\[#\d+\]|BUG: unable to handle|general protection fault.{0,200}\[#\d+\]/,
    code: 'GUEST_FAILED',
    summary: "The guest's kernel reported an oops.",
    hint: 'Find the failing function in the trace above.',
    ends: 'waits',
  },
  {
    pattern: /Out of memory: Killed process/,
    code: 'GUEST_FAILED',
    summary: 'The guest ran out of memory and killed a process.',
    hint: 'Give the guest more `memory`.',
    ends: 'waits',
  },
  {
    pattern: /reboot: System halted/,
    code: 'GUEST_STOPPED',
    summary: 'The guest halted.',
    hint: 'Read the lines above for the program that requested it.',
    ends: 'always',
  },
]

/** Pattern of all rows together. Most lines match no row, and this pattern rejects them quickly. */
const ANY_FAILURE = new RegExp(ROWS.map(({ pattern }) => `(?:${pattern.source})`).join('|'))

/** Present operation on a guest: its start, a wait of a test, or anything else. */
export type GuestPhase = 'start' | 'wait' | 'other'

const ENDS_BY_PHASE: Readonly<Record<GuestPhase, readonly GuestFailureRow['ends'][]>> = {
  start: ['always', 'waits', 'start'],
  wait: ['always', 'waits'],
  other: ['always'],
}

/** Returns the failure that a console line reports. */
export function findGuestFailure(line: string, phase: GuestPhase): VMError | undefined {
  if (!ANY_FAILURE.test(line)) return undefined
  const row = ROWS.find(({ pattern, ends }) => ENDS_BY_PHASE[phase].includes(ends) && pattern.test(line))
  if (row === undefined) return undefined
  const { code, summary, hint } = row
  return vmError(code, { summary, got: line.trim(), hint })
}
