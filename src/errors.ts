import { type CallSite, setStack } from './errors/call-site.js'
import { toSafeText } from './errors/safe-text.js'

/** Cause of a failure: invalid usage, the host, the guest, or a command in the guest. */
export type ErrorKind = 'usage' | 'infrastructure' | 'guest' | 'command'

/**
 * All codes of a {@link VMError}, with kind and meaning. `docs/errors.md` is generated from this
 * table.
 */
export const ERROR_CODES = {
  INVALID_OPTIONS: { kind: 'usage', meaning: 'one or more options are unknown, malformed or in conflict' },
  IMAGE_NOT_FOUND: { kind: 'usage', meaning: 'no recipe or file has the name of the image' },
  IMAGE_INVALID: {
    kind: 'usage',
    meaning: 'the image (or kernel) is empty, truncated, a directory, unreadable or not of the given format',
  },
  IMAGE_LOCKED: { kind: 'infrastructure', meaning: 'another process has the image open for writing' },
  IMAGE_FETCH_FAILED: { kind: 'infrastructure', meaning: 'an image could not be downloaded' },
  IMAGE_CHECKSUM_WRONG: {
    kind: 'usage',
    meaning: 'the downloaded file does not match its checksum',
  },
  IMAGE_IN_USE: {
    kind: 'infrastructure',
    meaning: 'a cached image cannot be removed because a running process uses it',
  },
  CACHE_READ_ONLY: { kind: 'infrastructure', meaning: 'the cache is not writable' },
  IMAGE_BUILD_FAILED: { kind: 'infrastructure', meaning: 'a step of an image recipe failed' },
  TEST_TIME_TOO_SHORT: {
    kind: 'usage',
    meaning: 'the test ends before the image of its guest is built or downloaded, or before its guest boots',
  },
  QEMU_NOT_FOUND: { kind: 'infrastructure', meaning: 'no QEMU binary was found' },
  QEMU_TOO_OLD: {
    kind: 'infrastructure',
    meaning: 'the QEMU binary is older than the oldest supported version',
  },
  FIRMWARE_NOT_FOUND: {
    kind: 'infrastructure',
    meaning: 'the host has no firmware for the requested machine',
  },
  FIRMWARE_INVALID: {
    kind: 'usage',
    meaning: 'the given file is not a UEFI variable store, or has no space for another variable',
  },
  TOOL_NOT_FOUND: { kind: 'infrastructure', meaning: 'a required program is not installed' },
  SETUP_FAILED: { kind: 'infrastructure', meaning: 'installing the required packages failed' },
  MACHINE_UNSUPPORTED: {
    kind: 'usage',
    meaning: "the host's QEMU does not support the requested machine, CPU or device",
  },
  ACCELERATOR_UNAVAILABLE: {
    kind: 'infrastructure',
    meaning: "`accel: 'kvm'` is set, but KVM cannot run a guest on this host",
  },
  ACCELERATOR_FAILED: {
    kind: 'infrastructure',
    meaning: 'the accelerator failed while the guest was running',
  },
  NO_SPACE: { kind: 'infrastructure', meaning: 'a disk or the temporary directory is full' },
  HOST_TOO_SMALL: {
    kind: 'infrastructure',
    meaning: 'a guest needs more memory than the host allows for all guests together',
  },
  HOST_UNSUITABLE: {
    kind: 'infrastructure',
    meaning: 'the host cannot run any guest: /proc is not mounted, or no more files can be opened',
  },
  WORKSPACE_FAILED: { kind: 'infrastructure', meaning: 'the private folder of the run could not be created' },
  PORT_UNAVAILABLE: { kind: 'infrastructure', meaning: 'a requested host port is in use' },
  QEMU_FAILED: { kind: 'infrastructure', meaning: 'QEMU did not start, or exited with an error' },
  QEMU_DIED: { kind: 'infrastructure', meaning: 'the QEMU process ended while the guest was in use' },
  QMP_FAILED: { kind: 'infrastructure', meaning: 'QEMU rejected a QMP command or did not respond to it' },
  SAVE_UNSUPPORTED: {
    kind: 'usage',
    meaning: 'the state of this guest cannot be saved, so it can be neither started warm nor forked',
  },
  OCR_FAILED: { kind: 'infrastructure', meaning: 'the text of a screenshot could not be read' },
  CHECKPOINT_FAILED: {
    kind: 'infrastructure',
    meaning: 'a checkpoint of a running guest could not be created or restored',
  },
  FORK_FAILED: {
    kind: 'infrastructure',
    meaning: 'the state of a running guest could not be saved for its children',
  },
  TEMPLATE_IN_USE: {
    kind: 'infrastructure',
    meaning: 'a template cannot be removed or made again because a running process has clones of it',
  },
  BOOT_TIMEOUT: { kind: 'guest', meaning: 'the guest exceeded the time limit of a stage of its start' },
  GUEST_PANICKED: { kind: 'guest', meaning: "the guest's kernel panicked" },
  GUEST_FAILED: {
    kind: 'guest',
    meaning: 'the guest entered an emergency or initramfs shell, or found no bootable device',
  },
  GUEST_STOPPED: {
    kind: 'guest',
    meaning: 'the guest halted or powered off before it was ready, or while it was in use',
  },
  GUEST_REBOOT_LOOP: { kind: 'guest', meaning: 'the guest reset itself repeatedly' },
  NETBOOT_FAILED: {
    kind: 'guest',
    meaning: 'a network boot failed: a requested file was not served, or the boot loader loops',
  },
  DISK_LIMIT_EXCEEDED: {
    kind: 'guest',
    meaning: 'the guest wrote more to its disks than `limits.disk` allows',
  },
  CONSOLE_LIMIT_EXCEEDED: {
    kind: 'guest',
    meaning: 'the guest wrote more to its serial console than `limits.console` allows',
  },
  SSH_REFUSED: { kind: 'guest', meaning: 'no SSH server responds in the guest' },
  SSH_AUTH_FAILED: { kind: 'guest', meaning: 'the SSH server rejected the key or the password' },
  SSH_HOST_KEY_CHANGED: {
    kind: 'guest',
    meaning: 'the host key of the SSH server differs from the pinned one',
  },
  SSH_UNSUPPORTED: {
    kind: 'infrastructure',
    meaning: 'the runtime (Bun, or OpenSSL in FIPS mode) lacks an algorithm that SSH requires',
  },
  SSH_CLOSED: { kind: 'guest', meaning: 'the SSH connection was lost while it was in use' },
  TRANSFER_FAILED: { kind: 'guest', meaning: 'a file could not be copied to or from the guest' },
  AGENT_UNAVAILABLE: { kind: 'guest', meaning: 'the guest agent did not respond' },
  AGENT_FAILED: {
    kind: 'guest',
    meaning: 'the guest agent reported an error',
  },
  IDENTITY_AGENT_SILENT: {
    kind: 'guest',
    meaning: 'the identity agent, which gives a clone its own identity, did not respond',
  },
  IDENTITY_REFUSED: {
    kind: 'guest',
    meaning: 'the guest could not set its clock, its random pool or its host name',
  },
  GUEST_CLOCK_WRONG: {
    kind: 'guest',
    meaning:
      "the guest's clock runs faster or slower than the host's, so the guest was not saved as a template",
  },
  DISPLAY_UNAVAILABLE: {
    kind: 'usage',
    meaning: 'the guest does not have the display, pointer or display server that was used',
  },
  DEVICE_REFUSED: {
    kind: 'usage',
    meaning: 'a device could not be plugged in or changed while the guest was running',
  },
  UNPLUG_FAILED: {
    kind: 'guest',
    meaning: 'the guest did not release a device to be unplugged, or memory to be reclaimed',
  },
  SERIAL_TIMEOUT: { kind: 'guest', meaning: 'the pattern did not appear on the serial console in time' },
  LOGIN_FAILED: { kind: 'guest', meaning: 'the login on the serial console failed' },
  KEY_NOT_INSTALLED: {
    kind: 'guest',
    meaning: 'the login on the serial console succeeded, but the key of the run could not be installed',
  },
  CLOUD_INIT_FAILED: {
    kind: 'guest',
    meaning: 'cloud-init in the guest failed, did not run or is not installed',
  },
  STATE_TIMEOUT: { kind: 'guest', meaning: 'the guest did not shut down or reboot in time' },
  WAIT_TIMEOUT: { kind: 'guest', meaning: 'the awaited condition was not met in time' },
  WAIT_FAILED: {
    kind: 'guest',
    meaning: 'the awaited condition can no longer be met: a unit failed, the journal contains errors, …',
  },
  INVARIANT_BROKEN: { kind: 'guest', meaning: 'an invariant set with `vm.always()` was violated' },
  COMMAND_FAILED: {
    kind: 'command',
    meaning: 'a command in the guest exited with a non-zero code or was killed by a signal',
  },
  COMMAND_TIMEOUT: { kind: 'command', meaning: 'a command in the guest exceeded its timeout' },
  BODY_TIMEOUT: { kind: 'usage', meaning: 'the body of `withVM()` exceeded its timeout' },
  NOT_AWAITED: {
    kind: 'usage',
    meaning: 'a call of a test was not awaited, and had failed or was still running at the end of the test',
  },
  GUEST_NOT_FOUND: { kind: 'usage', meaning: 'no guest of that name runs on this host' },
  GUEST_IN_USE: {
    kind: 'usage',
    meaning: 'the guest, or its console, is in use by another process',
  },
  VM_RUNNING: { kind: 'usage', meaning: 'the guest cannot be started because it is running' },
  VM_NOT_RUNNING: {
    kind: 'usage',
    meaning: 'the guest was used while it was powered off or after it was disposed of',
  },
} as const satisfies Record<string, { readonly kind: ErrorKind; readonly meaning: string }>

/** Code of an error. See docs/errors.md. */
export type ErrorCode = keyof typeof ERROR_CODES

/** One section of evidence for a failure: a label and its text. */
export interface Evidence {
  /** Heading of the section in the message. */
  readonly label: string
  /** Text of the section, one or more lines. */
  readonly text: string
}

/** Parts of the message of an error. */
export interface ErrorDetails {
  /** One sentence about the failure, with a duration if relevant. */
  readonly summary: string
  /** Expected value. */
  readonly expected?: string | undefined
  /** Actual value. */
  readonly got?: string | undefined
  /** Sections with facts about the failure. */
  readonly evidence?: readonly Evidence[] | undefined
  /** Instructions that fix the failure: full sentences in the imperative. */
  readonly hint: string
  /** Error that caused this one. */
  readonly cause?: unknown
}

/**
 * The base class of all errors that withvm throws. The message contains, in this order, the
 * failure, the expected and the actual value, the evidence, and a hint on how to fix it.
 */
export class VMError extends Error {
  /** Name of the class. */
  override readonly name: string = 'VMError'
  /** Stable code of the failure. */
  readonly code: ErrorCode
  /** Cause: invalid usage, the host, the guest, or a command in the guest. */
  readonly kind: ErrorKind
  /** Instructions that fix the failure. */
  readonly hint: string
  /** Facts about the guest at the time of the failure, as in the message. */
  readonly evidence: readonly Evidence[]
  /** Parts of the message. */
  readonly details: ErrorDetails
  /** Time at which the stack was set to a call of the test, in milliseconds. */
  #locatedAtMs: number | undefined

  constructor(code: ErrorCode, raw: ErrorDetails) {
    const details = toSafeDetails(raw)
    super(formatMessage(details), details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.kind = ERROR_CODES[code].kind
    this.hint = details.hint
    this.evidence = details.evidence ?? []
    this.details = details
    hideProperties(this, ['hint', 'evidence', 'details'])
  }

  /**
   * @internal Properties that test runners print after the message, which contains all others
   * already.
   */
  toJSON(): Readonly<Record<string, unknown>> {
    const { name, message, code, kind } = this
    return { name, message, code, kind }
  }

  /**
   * @internal Replaces the stack by the frames of a call of the test. Keeps the frames of a call
   * within that call. Returns a copy if another call has failed with the same error.
   */
  locate(site: CallSite): VMError {
    if (this.#locatedAtMs !== undefined && this.#locatedAtMs > site.atMs) return this
    const error = this.#locatedAtMs === undefined ? this : this.#with({})
    if (!setStack(error, site)) return this
    error.#locatedAtMs = performance.now()
    if (error.#isCauseStated) delete error.cause
    return error
  }

  /** If true, the message contains the text of the cause, an error of another library. */
  get #isCauseStated(): boolean {
    const { cause, message } = this
    return cause instanceof Error && !(cause instanceof VMError) && message.includes(cause.message)
  }

  /**
   * @internal Returns a copy of the error with more evidence appended. Labels that are already
   * present are skipped.
   */
  withEvidence(more: readonly Evidence[]): VMError {
    const known = new Set(this.evidence.map((piece) => piece.label))
    const added = more.filter((piece) => piece.text !== '' && !known.has(piece.label))
    return added.length === 0 ? this : this.#with({ evidence: [...this.evidence, ...added] })
  }

  /** @internal Returns a copy of the error with another hint. */
  replaceHint(hint: string): VMError {
    return this.#with({ hint })
  }

  /** @internal Returns a copy of the error with a more likely hint in front of the present one. */
  withHint(hint: string): VMError {
    return this.#with({ hint: `${hint} ${this.hint.charAt(0).toUpperCase()}${this.hint.slice(1)}` })
  }

  #with(details: Partial<ErrorDetails>): VMError {
    const Class = this.constructor as new (code: ErrorCode, details: ErrorDetails) => VMError
    const error = new Class(this.code, { ...this.details, ...details })
    error.stack = this.stack?.replace(this.message, () => error.message)
    error.#locatedAtMs = this.#locatedAtMs
    return error
  }
}

/**
 * The host is unable to run the guest (no QEMU, no space, a broken accelerator). CI may retry on
 * another host.
 */
export class InfrastructureError extends VMError {
  /** Name of the class. */
  override readonly name: string = 'InfrastructureError'
}

/** Invalid usage: the test must be fixed, retrying does not help. */
export class UsageError extends VMError {
  /** Name of the class. */
  override readonly name: string = 'UsageError'
}

/** The guest failed or did not behave as expected. */
export class GuestError extends VMError {
  /** Name of the class. */
  override readonly name: string = 'GuestError'
}

/** Result of a command in the guest. */
export interface CommandOutcome {
  /** Command line as run by the guest's shell. */
  readonly command: string
  /** Standard output. */
  readonly stdout: string
  /** Standard error. */
  readonly stderr: string
  /** Undefined if a signal killed the command, or if it did not end. */
  readonly exitCode: number | undefined
  /** Name of the signal that killed the command, such as `SIGTERM`. */
  readonly signal: string | undefined
  /** Duration of the command, in milliseconds. */
  readonly durationMs: number
}

/** A command in the guest failed or timed out. Has both output streams and the exit code. */
export class CommandError extends VMError implements CommandOutcome {
  /** Name of the class. */
  override readonly name: string = 'CommandError'
  /** Command line as run by the guest's shell. */
  readonly command: string
  /** Standard output. */
  readonly stdout: string
  /** Standard error. */
  readonly stderr: string
  /** Exit code. Undefined if a signal killed the command, or if it did not end. */
  readonly exitCode: number | undefined
  /** Name of the signal that killed the command, such as `SIGTERM`. */
  readonly signal: string | undefined
  /** Duration of the command, in milliseconds. */
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
    hideProperties(this, ['command', 'stdout', 'stderr'])
  }

  /** @internal */
  override toJSON(): Readonly<Record<string, unknown>> {
    const { exitCode, signal, durationMs } = this
    return { ...super.toJSON(), exitCode, signal, durationMs }
  }
}

const CLASSES = { usage: UsageError, infrastructure: InfrastructureError, guest: GuestError } as const

/** Creates an error of the class for the code's kind. */
export function vmError(
  code: Exclude<ErrorCode, 'COMMAND_FAILED' | 'COMMAND_TIMEOUT'>,
  details: ErrorDetails,
): VMError {
  const kind = ERROR_CODES[code].kind as keyof typeof CLASSES
  return new CLASSES[kind](code, details)
}

/**
 * Makes properties not enumerable: test runners print the others, and the message contains these.
 */
function hideProperties<T extends object>(error: T, names: readonly (keyof T)[]): void {
  for (const name of names) Object.defineProperty(error, name, { enumerable: false })
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

function toSafeDetails(details: ErrorDetails): ErrorDetails {
  const { summary, expected, got, hint, evidence, cause } = details
  return {
    ...details,
    summary: toSafeText(summary),
    hint: toSafeText(hint),
    ...(expected !== undefined && { expected: toSafeText(expected) }),
    ...(got !== undefined && { got: toSafeText(got) }),
    ...(evidence !== undefined && {
      evidence: evidence.map(({ label, text }) => ({ label: toSafeText(label), text: toSafeText(text) })),
    }),
    ...(cause !== undefined && { cause: toSafeCause(cause) }),
  }
}

/** Maximum number of causes that an error keeps: causes of other libraries may be circular. */
const MAX_CAUSES = 20

/**
 * Returns a copy of an error of another library if its texts are not safe: test runners print them
 * too.
 */
function toSafeCause(cause: unknown, depth = 0): unknown {
  if (!(cause instanceof Error) || cause instanceof VMError) return cause
  if (depth === MAX_CAUSES) return undefined
  const safe = {
    message: toSafeText(cause.message),
    stack: cause.stack === undefined ? undefined : toSafeText(cause.stack),
    cause: toSafeCause(cause.cause, depth + 1),
  }
  if (safe.message === cause.message && safe.stack === cause.stack && safe.cause === cause.cause) return cause
  const copy = Object.setPrototypeOf(new Error(safe.message), Object.getPrototypeOf(cause))
  return Object.defineProperties(copy, {
    ...Object.getOwnPropertyDescriptors(cause),
    message: { value: safe.message },
    stack: { value: safe.stack },
    ...(safe.cause !== undefined && { cause: { value: safe.cause } }),
  })
}

function indentRest(text: string): string {
  return text.replaceAll('\n', '\n            ')
}
