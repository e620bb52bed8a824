/** Greeting that QEMU sends on a new connection. */
export interface QmpGreeting {
  /** Version of QEMU. */
  readonly version: QmpVersion
  /** Capabilities of the monitor, such as `oob`. */
  readonly capabilities: readonly string[]
}

/** Version of QEMU. */
export interface QmpVersion {
  /** Version number of QEMU. */
  readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number }
  /** Package version of the distribution, such as `Debian 1:7.2+dfsg-7`. */
  readonly package: string
}

/** Asynchronous message of QEMU, such as `SHUTDOWN`. */
export interface QmpEvent {
  /** Name of the event. */
  readonly event: string
  /** Data of the event. */
  readonly data: Readonly<Record<string, unknown>>
  /** Time of the event on the host. */
  readonly timestamp: { readonly seconds: number; readonly microseconds: number }
}

/** Run states of a guest (QEMU's QAPI schema, `RunState`). */
export type QmpRunState =
  | 'running'
  | 'paused'
  | 'shutdown'
  | 'guest-panicked'
  | 'internal-error'
  | 'io-error'
  | 'inmigrate'
  | 'postmigrate'
  | 'finish-migrate'
  | 'prelaunch'
  | 'restore-vm'
  | 'save-vm'
  | 'suspended'
  | 'watchdog'
  | 'debug'
  | 'colo'

interface Command<Arguments, Returns> {
  readonly arguments: Arguments
  readonly returns: Returns
}

/** Arguments of a command that takes none. */
type NoArguments = Readonly<Record<string, never>>
/** Result of a command that returns nothing. */
type EmptyReply = Readonly<Record<string, never>>

/**
 * Commands with typed arguments and results (QEMU's QAPI schema, 7.2). Other commands are untyped.
 */
export interface QmpCommands {
  'query-status': Command<NoArguments, { readonly status: QmpRunState; readonly running: boolean }>
  'query-version': Command<NoArguments, QmpVersion>
  'query-name': Command<NoArguments, { readonly name?: string | undefined }>
  'query-kvm': Command<NoArguments, { readonly enabled: boolean; readonly present: boolean }>
  'query-commands': Command<NoArguments, ReadonlyArray<{ readonly name: string }>>
  'query-chardev': Command<
    NoArguments,
    ReadonlyArray<{ readonly label: string; readonly filename: string; readonly 'frontend-open': boolean }>
  >
  'query-block': Command<
    NoArguments,
    ReadonlyArray<{
      readonly device: string
      readonly qdev?: string | undefined
      readonly inserted?:
        | {
            readonly file: string
            readonly 'node-name'?: string | undefined
            readonly ro: boolean
            readonly drv: string
            readonly backing_file?: string | undefined
          }
        | undefined
    }>
  >
  'query-machines': Command<
    NoArguments,
    ReadonlyArray<{
      readonly name: string
      readonly alias?: string | undefined
      readonly 'is-default'?: boolean | undefined
      readonly 'cpu-max': number
      readonly deprecated: boolean
    }>
  >
  'query-cpu-definitions': Command<
    NoArguments,
    ReadonlyArray<{
      readonly name: string
      readonly typename: string
      readonly 'unavailable-features'?: readonly string[] | undefined
      readonly deprecated: boolean
    }>
  >
  'query-cpus-fast': Command<
    NoArguments,
    ReadonlyArray<{ readonly 'cpu-index': number; readonly 'thread-id': number; readonly target: string }>
  >
  'qom-list-types': Command<
    { readonly implements?: string | undefined; readonly abstract?: boolean | undefined },
    ReadonlyArray<{ readonly name: string; readonly parent?: string | undefined }>
  >
  'qom-get': Command<{ readonly path: string; readonly property: string }, unknown>
  'qom-set': Command<
    { readonly path: string; readonly property: string; readonly value: unknown },
    EmptyReply
  >
  'human-monitor-command': Command<
    { readonly 'command-line': string; readonly 'cpu-index'?: number | undefined },
    string
  >
  device_add: Command<
    { readonly driver: string; readonly id?: string | undefined; readonly [key: string]: unknown },
    EmptyReply
  >
  device_del: Command<{ readonly id: string }, EmptyReply>
  netdev_add: Command<
    { readonly type: string; readonly id: string; readonly [key: string]: unknown },
    EmptyReply
  >
  netdev_del: Command<{ readonly id: string }, EmptyReply>
  set_link: Command<{ readonly name: string; readonly up: boolean }, EmptyReply>
  'send-key': Command<
    {
      readonly keys: ReadonlyArray<{ readonly type: 'qcode'; readonly data: string }>
      readonly 'hold-time'?: number | undefined
    },
    EmptyReply
  >
  screendump: Command<
    {
      readonly filename: string
      readonly format?: 'ppm' | 'png' | undefined
      readonly device?: string | undefined
    },
    EmptyReply
  >
  'migrate-set-capabilities': Command<
    { readonly capabilities: ReadonlyArray<{ readonly capability: string; readonly state: boolean }> },
    EmptyReply
  >
  migrate: Command<{ readonly uri: string }, EmptyReply>
  'migrate-incoming': Command<{ readonly uri: string }, EmptyReply>
  'query-migrate': Command<
    NoArguments,
    { readonly status?: string | undefined; readonly 'error-desc'?: string | undefined }
  >
  quit: Command<NoArguments, EmptyReply>
  stop: Command<NoArguments, EmptyReply>
  cont: Command<NoArguments, EmptyReply>
  system_powerdown: Command<NoArguments, EmptyReply>
  system_reset: Command<NoArguments, EmptyReply>
  system_wakeup: Command<NoArguments, EmptyReply>
}
