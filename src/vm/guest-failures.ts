import { type VMError, vmError } from '../errors.js'

interface GuestFailureRow {
  readonly pattern: RegExp
  readonly code: 'GUEST_PANICKED' | 'GUEST_FAILED' | 'GUEST_STOPPED'
  readonly summary: string
  readonly hint: string
  /** Whether a guest that was ready is lost too. Else it only fails a start: a test may want to see it happen. */
  readonly always: boolean
}

/** Lines of the serial console after which a guest will not get ready any more. */
const ROWS: readonly GuestFailureRow[] = [
  {
    pattern: /Kernel panic - not syncing/,
    code: 'GUEST_PANICKED',
    summary: "the guest's kernel panicked",
    hint: 'the lines above the panic say why. "VFS: Unable to mount root" wants another `root=` or a driver in the initrd.',
    always: true,
  },
  {
    pattern: /You are in (emergency|rescue) mode|Give root password for maintenance/,
    code: 'GUEST_FAILED',
    summary: 'the guest dropped to the emergency shell of its init system',
    hint: 'look for the unit that failed above; often a mount in /etc/fstab that is not there.',
    always: false,
  },
  {
    pattern: /^\(initramfs\)|ALERT!.*does not exist|Dropping to a shell/,
    code: 'GUEST_FAILED',
    summary: 'the guest dropped to the shell of its initramfs: it did not find its root disk',
    hint: 'check `root=` in the kernel arguments, and that the initrd has the driver of the disk.',
    always: false,
  },
  {
    pattern: /No bootable device/,
    code: 'GUEST_FAILED',
    summary: 'the firmware found nothing to boot',
    hint: 'is the image a bootable disk? A file system or a data disk alone needs a `kernel`.',
    always: false,
  },
  {
    pattern: /Oops: .*\[#\d+\]|BUG: unable to handle|general protection fault.*\[#\d+\]/,
    code: 'GUEST_FAILED',
    summary: "the guest's kernel oopsed",
    hint: 'the trace above names the function.',
    always: false,
  },
  {
    pattern: /Out of memory: Killed process/,
    code: 'GUEST_FAILED',
    summary: 'the guest ran out of memory and killed a process',
    hint: 'give it more `memory`.',
    always: false,
  },
  {
    pattern: /reboot: System halted/,
    code: 'GUEST_STOPPED',
    summary: 'the guest halted',
    hint: 'look above for what asked for it.',
    always: true,
  },
]

/** The failure that a line of the serial console tells of. */
export function findGuestFailure(line: string, isReady: boolean): { error: VMError } | undefined {
  const row = ROWS.find(({ pattern, always }) => (always || !isReady) && pattern.test(line))
  if (row === undefined) return undefined
  const { code, summary, hint } = row
  return { error: vmError(code, { summary: `${capitalise(summary)}.`, got: line.trim(), hint }) }
}

function capitalise(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
