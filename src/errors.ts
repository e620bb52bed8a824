/** Whose fault a failure is: what the author wrote, this host, the guest, or a command run in it. */
export type ErrorKind = 'usage' | 'infrastructure' | 'guest' | 'command'

/** Every code a {@link VMError} can carry, with its kind and what it means. `docs/errors.md` is made from this table. */
export const ERROR_CODES = {
  INVALID_OPTIONS: { kind: 'usage', meaning: 'one or more options are unknown, malformed or conflict' },
  IMAGE_NOT_FOUND: { kind: 'usage', meaning: 'no recipe and no file has the name of the image' },
  IMAGE_INVALID: {
    kind: 'usage',
    meaning:
      'the image (or kernel) is empty, truncated, a directory, unreadable or of another format than named',
  },
  IMAGE_LOCKED: { kind: 'infrastructure', meaning: 'another process has the image open for writing' },
  IMAGE_FETCH_FAILED: { kind: 'infrastructure', meaning: 'an image could not be downloaded' },
  IMAGE_CHECKSUM_WRONG: {
    kind: 'usage',
    meaning: 'what was downloaded is not what its checksum says',
  },
  IMAGE_IN_USE: {
    kind: 'infrastructure',
    meaning: 'an image of the cache was to be removed while a running process uses it',
  },
  CACHE_READ_ONLY: { kind: 'infrastructure', meaning: 'nothing can be written to the cache' },
  IMAGE_BUILD_FAILED: { kind: 'infrastructure', meaning: 'a step of an image recipe failed' },
  QEMU_NOT_FOUND: { kind: 'infrastructure', meaning: 'no QEMU binary was found' },
  QEMU_TOO_OLD: { kind: 'infrastructure', meaning: 'the QEMU binary is older than the least tested version' },
  FIRMWARE_NOT_FOUND: {
    kind: 'infrastructure',
    meaning: 'no firmware of this host fits the machine that was asked for',
  },
  FIRMWARE_INVALID: {
    kind: 'usage',
    meaning: 'the variables that were given for the firmware are none, or have no room for one more',
  },
  TOOL_NOT_FOUND: { kind: 'infrastructure', meaning: 'a program that is needed is not installed' },
  SETUP_FAILED: { kind: 'infrastructure', meaning: 'installing the packages that are needed failed' },
  MACHINE_UNSUPPORTED: {
    kind: 'usage',
    meaning: "this host's QEMU does not know the machine, CPU or device that was asked for",
  },
  ACCELERATOR_UNAVAILABLE: {
    kind: 'infrastructure',
    meaning: "accel: 'kvm' was asked for, but KVM cannot run a guest here",
  },
  ACCELERATOR_FAILED: { kind: 'infrastructure', meaning: 'the accelerator failed while the guest ran' },
  NO_SPACE: { kind: 'infrastructure', meaning: 'a disk or the temporary directory is full' },
  HOST_TOO_SMALL: {
    kind: 'infrastructure',
    meaning: 'a guest has more memory than all guests of this host may take together',
  },
  HOST_UNSUITABLE: {
    kind: 'infrastructure',
    meaning: 'this host lacks what every guest needs: /proc is not mounted, or no more files can be opened',
  },
  WORKSPACE_FAILED: { kind: 'infrastructure', meaning: 'the private run directory could not be made' },
  PORT_UNAVAILABLE: { kind: 'infrastructure', meaning: 'a host port that was asked for is taken' },
  QEMU_FAILED: { kind: 'infrastructure', meaning: 'QEMU did not start, or ended by itself with an error' },
  QEMU_DIED: { kind: 'infrastructure', meaning: 'the QEMU process went away while it was in use' },
  QMP_FAILED: { kind: 'infrastructure', meaning: 'QEMU refused or did not answer a QMP command' },
  SAVE_UNSUPPORTED: {
    kind: 'usage',
    meaning: 'QEMU cannot save the state of this machine, so that it cannot be started warm',
  },
  OCR_FAILED: { kind: 'infrastructure', meaning: 'the text of a screenshot could not be read' },
  CHECKPOINT_FAILED: {
    kind: 'infrastructure',
    meaning: 'a checkpoint of a running guest could not be made, or gone back to',
  },
  TEMPLATE_IN_USE: {
    kind: 'infrastructure',
    meaning: 'a template was to be removed while a running process has guests of it',
  },
  BOOT_TIMEOUT: { kind: 'guest', meaning: 'the guest stayed in one stage of its start for too long' },
  GUEST_PANICKED: { kind: 'guest', meaning: "the guest's kernel panicked" },
  GUEST_FAILED: {
    kind: 'guest',
    meaning: 'the guest dropped to an emergency or initramfs shell, or found nothing to boot',
  },
  GUEST_STOPPED: {
    kind: 'guest',
    meaning: 'the guest halted or powered off before it was ready or while in use',
  },
  GUEST_REBOOT_LOOP: { kind: 'guest', meaning: 'the guest reset itself again and again' },
  NETBOOT_FAILED: {
    kind: 'guest',
    meaning: 'a guest that boots from the network was not given what it asked for, or turns in circles',
  },
  DISK_LIMIT_PASSED: {
    kind: 'guest',
    meaning: 'the guest wrote more to its disks than `limits.disk` allows',
  },
  CONSOLE_LIMIT_PASSED: {
    kind: 'guest',
    meaning: 'the guest wrote more on its serial console than `limits.console` allows',
  },
  SSH_REFUSED: { kind: 'guest', meaning: 'nothing in the guest answers as an SSH server' },
  SSH_AUTH_FAILED: { kind: 'guest', meaning: 'the SSH server refused the key or the password' },
  SSH_HOST_KEY_CHANGED: {
    kind: 'guest',
    meaning: 'the SSH server showed another host key than the pinned one',
  },
  SSH_CLOSED: { kind: 'guest', meaning: 'the SSH connection was lost while in use' },
  TRANSFER_FAILED: { kind: 'guest', meaning: 'a file could not be copied to or from the guest' },
  AGENT_UNAVAILABLE: { kind: 'guest', meaning: 'the guest agent did not answer' },
  AGENT_FAILED: {
    kind: 'guest',
    meaning: 'the guest agent answered that it cannot do what it was asked for',
  },
  IDENTITY_AGENT_SILENT: {
    kind: 'guest',
    meaning: 'the program in the guest that sets its clock and its names did not answer',
  },
  GUEST_CLOCK_WRONG: {
    kind: 'guest',
    meaning:
      "the guest's clock does not run at the speed of the host's, so that the guest was not saved as a template",
  },
  DISPLAY_UNAVAILABLE: {
    kind: 'usage',
    meaning: 'the guest has no display, pointer or screen server of the kind that was used',
  },
  DEVICE_REFUSED: {
    kind: 'usage',
    meaning: 'a device could not be plugged in or changed while the guest runs',
  },
  UNPLUG_FAILED: {
    kind: 'guest',
    meaning: 'the guest did not give back a device that was to be unplugged, or memory that was to be taken',
  },
  SERIAL_TIMEOUT: { kind: 'guest', meaning: 'the pattern did not come on the serial console in time' },
  LOGIN_FAILED: { kind: 'guest', meaning: 'the guest did not let the user in on its serial console' },
  KEY_NOT_INSTALLED: {
    kind: 'guest',
    meaning: 'the serial console let the user in, but the key of the run could not be installed there',
  },
  CLOUD_INIT_FAILED: {
    kind: 'guest',
    meaning: 'cloud-init in the guest failed, did not run, or is not there',
  },
  STATE_TIMEOUT: { kind: 'guest', meaning: 'the guest did not shut down or reboot in time' },
  WAIT_TIMEOUT: { kind: 'guest', meaning: 'what was waited for did not come in time' },
  WAIT_FAILED: {
    kind: 'guest',
    meaning: 'what was waited for cannot come any more: a unit failed, a journal has errors',
  },
  INVARIANT_BROKEN: { kind: 'guest', meaning: 'what `vm.always()` was to hold does not hold any more' },
  COMMAND_FAILED: {
    kind: 'command',
    meaning: 'a command in the guest ended with a non-zero exit code or a signal',
  },
  COMMAND_TIMEOUT: { kind: 'command', meaning: 'a command in the guest ran for longer than it was given' },
  BODY_TIMEOUT: { kind: 'usage', meaning: 'the body of withVM() ran for longer than it was given' },
  GUEST_NOT_FOUND: { kind: 'usage', meaning: 'no guest of that name runs on this host' },
  GUEST_IN_USE: {
    kind: 'usage',
    meaning: 'the guest, or its console, is in use by another process',
  },
  VM_RUNNING: { kind: 'usage', meaning: 'the guest was to be started while it was running' },
  VM_NOT_RUNNING: {
    kind: 'usage',
    meaning: 'the guest was used while it was switched off or after it was disposed of',
  },
} as const satisfies Record<string, { readonly kind: ErrorKind; readonly meaning: string }>

export type ErrorCode = keyof typeof ERROR_CODES

/** A piece of evidence of a failure: a heading and the text below it. */
export interface Evidence {
  readonly label: string
  readonly text: string
}

export interface ErrorDetails {
  /** What failed, and after how long. */
  readonly summary: string
  readonly expected?: string
  readonly got?: string
  readonly evidence?: readonly Evidence[]
  /** What to do about it: whole sentences. */
  readonly hint: string
  readonly cause?: unknown
}

/**
 * The base of every error that withvm throws. The message says in order what failed, what was expected and
 * what came, the evidence, and how to fix it.
 */
export class VMError extends Error {
  override readonly name: string = 'VMError'
  readonly code: ErrorCode
  readonly kind: ErrorKind
  readonly hint: string
  readonly evidence: readonly Evidence[]
  readonly details: ErrorDetails

  constructor(code: ErrorCode, raw: ErrorDetails) {
    const details = showControls(raw)
    super(formatMessage(details), details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.kind = ERROR_CODES[code].kind
    this.hint = details.hint
    this.evidence = details.evidence ?? []
    this.details = details
  }

  /** The same failure with more evidence behind what it has. */
  withEvidence(more: readonly Evidence[]): VMError {
    const known = new Set(this.evidence.map((piece) => piece.label))
    const added = more.filter((piece) => piece.text !== '' && !known.has(piece.label))
    return added.length === 0 ? this : this.#with({ evidence: [...this.evidence, ...added] })
  }

  /** The same failure with a likelier way to mend it before the one that it has. */
  withHint(hint: string): VMError {
    return this.#with({ hint: `${hint} ${this.hint.charAt(0).toUpperCase()}${this.hint.slice(1)}` })
  }

  #with(details: Partial<ErrorDetails>): VMError {
    const Class = this.constructor as new (code: ErrorCode, details: ErrorDetails) => VMError
    const error = new Class(this.code, { ...this.details, ...details })
    error.stack = this.stack?.replace(this.message, () => error.message)
    return error
  }
}

/** This host cannot do it (no QEMU, no space, a broken accelerator): a CI may retry it elsewhere. */
export class InfrastructureError extends VMError {
  override readonly name: string = 'InfrastructureError'
}

/** What the author wrote cannot be meant: nothing was booted. */
export class UsageError extends VMError {
  override readonly name: string = 'UsageError'
}

/** The guest did not do what it should. */
export class GuestError extends VMError {
  override readonly name: string = 'GuestError'
}

/** What a command in the guest left behind. */
export interface CommandOutcome {
  readonly command: string
  readonly stdout: string
  readonly stderr: string
  /** Undefined when a signal ended the command, or when it did not end. */
  readonly exitCode: number | undefined
  /** The name of the signal that ended the command, as `SIGTERM`. */
  readonly signal: string | undefined
  readonly durationMs: number
}

/** A command in the guest failed or ran out of time. Carries both streams and the exit code. */
export class CommandError extends VMError implements CommandOutcome {
  override readonly name: string = 'CommandError'
  readonly command: string
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  readonly durationMs: number

  constructor(
    code: 'COMMAND_FAILED' | 'COMMAND_TIMEOUT',
    details: ErrorDetails & { outcome: CommandOutcome },
  ) {
    super(code, details)
    const { outcome } = details
    this.command = outcome.command
    this.stdout = outcome.stdout
    this.stderr = outcome.stderr
    this.exitCode = outcome.exitCode
    this.signal = outcome.signal
    this.durationMs = outcome.durationMs
  }
}

const CLASSES = { usage: UsageError, infrastructure: InfrastructureError, guest: GuestError } as const

/** Makes the error of the class that the code's kind names. */
export function vmError(
  code: Exclude<ErrorCode, 'COMMAND_FAILED' | 'COMMAND_TIMEOUT'>,
  details: ErrorDetails,
): VMError {
  const kind = ERROR_CODES[code].kind as keyof typeof CLASSES
  return new CLASSES[kind](code, details)
}

function formatMessage(details: ErrorDetails): string {
  const parts = [details.summary]
  if (details.expected !== undefined) parts.push(`  Expected: ${indentRest(details.expected)}`)
  if (details.got !== undefined) parts.push(`  Got:      ${indentRest(details.got)}`)
  for (const { label, text } of details.evidence ?? []) {
    if (text !== '') parts.push(`\n${label}:\n${text.trimEnd().replace(/^/gm, '  | ')}`)
  }
  parts.push(`${details.evidence?.length ? '\n' : ''}Fix: ${details.hint}`)
  return parts.join('\n')
}

/** All but tab and line feed: C0 and C1, with which a text drives a terminal, and what turns the direction of writing. */
const CONTROLS = /(?![\t\n])[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

const REPEATED = new RegExp(`(${CONTROLS.source})\\1{15,}`, 'gu')

/** Writes out control characters as JSON would: what a guest has said is printed, and must not drive the reader's terminal. */
export function showControlCharacters(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(REPEATED, (run) => `${writeOut(run.charAt(0))} (${run.length} times)`)
    .replace(CONTROLS, writeOut)
}

function writeOut(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

function showControls(details: ErrorDetails): ErrorDetails {
  const { summary, expected, got, hint, evidence } = details
  return {
    ...details,
    summary: showControlCharacters(summary),
    hint: showControlCharacters(hint),
    ...(expected !== undefined && { expected: showControlCharacters(expected) }),
    ...(got !== undefined && { got: showControlCharacters(got) }),
    ...(evidence !== undefined && {
      evidence: evidence.map(({ label, text }) => ({
        label: showControlCharacters(label),
        text: showControlCharacters(text),
      })),
    }),
  }
}

function indentRest(text: string): string {
  return text.replaceAll('\n', '\n            ')
}
