import { isRecord } from '../common/is-record.js'
import { addClock, FILE_BYTES, padField } from './guest-identity.js'
import { type AgentMessage, MESSAGE_ADDRESS, MessageBuilder, NONCE_BYTES } from './identity-agent/message.js'
import { AGENT_TARGETS, type AgentArch } from './identity-agent/target.js'

/**
 * Places of the identity in a guest whose image withvm did not build, as found in the running
 * guest. The identity agent writes these files in a clone.
 */
export interface ProbedIdentity {
  readonly machineIds: readonly string[]
  /** Files that contained the SSH key of the run. */
  readonly authorizedKeys: readonly string[]
  readonly hostKey: { readonly path: string; readonly format: 'openssh' | 'dropbear' } | undefined
  /** SSH server that reads its host key again on SIGHUP. Undefined: it reads it per connection. */
  readonly sshdPid: number | undefined
  readonly hostname: string | undefined
  /** File with the line of the host name in its first bytes. */
  readonly hosts: string | undefined
}

/** Size of the field for the host name at the start of `/etc/hosts`. */
export const HOSTS_BYTES = 96

const MAX_MACHINE_IDS = 2
export const MAX_AUTHORIZED_KEYS = 4
/** Maximum length of a path, so that all of them fit into a message. */
const MAX_PATH_CHARS = 96
const MAX_PID = 2 ** 22
/** Maximum size of the report of a guest, characters. */
const MAX_REPORT_CHARS = 65_536
const REPORT_LINE = /^withvm: ([a-z-]+) (.+?)\r?$/gm
const O_WRONLY = 1
const O_CREAT = 0o100
const O_TRUNC = 0o1000
const SIGHUP = 1
const CLOCK_MONOTONIC = 1

/** Values of one clone. */
export interface ProbedValues {
  readonly hostname: string
  /** 32 hexadecimal digits. */
  readonly machineId: string
  /** One line of `authorized_keys`. */
  readonly authorizedKey: string
  /** Host key in the format of the guest's SSH server. */
  readonly hostKey: Uint8Array
  /** Public part of the host key, as in a public key file. */
  readonly publicHostKey: string
}

/**
 * Reads the report of the script that quiesces a guest. The guest is not trusted: everything that
 * is not a short absolute path is ignored, and so is everything above the limits.
 */
export function parseReport(report: string): ProbedIdentity {
  const found = new Map<string, string[]>()
  for (const [, name = '', value = ''] of report.slice(-MAX_REPORT_CHARS).matchAll(REPORT_LINE))
    found.set(name, [...(found.get(name) ?? []), value])
  const paths = (name: string, max: number) => (found.get(name) ?? []).filter(isPath).slice(0, max)
  const [openssh] = paths('openssh-key', 1)
  const [dropbear] = paths('dropbear-key', 1)
  const pid = Number(found.get('sshd-pid')?.[0])
  return {
    machineIds: paths('machine-id', MAX_MACHINE_IDS),
    authorizedKeys: paths('authorized-keys', MAX_AUTHORIZED_KEYS),
    hostKey: describeHostKey(openssh, dropbear),
    sshdPid: isPid(pid) ? pid : undefined,
    hostname: paths('hostname', 1)[0],
    hosts: paths('hosts', 1)[0],
  }
}

/** Returns why the script could not quiesce the guest; undefined if it did. */
export function findParkFailure(report: string): string | undefined {
  const [, reason] = /^withvm: failed ([a-z-]{1,32})\r?$/m.exec(report) ?? []
  if (reason !== undefined) return reason
  return /^withvm: parking now\r?$/m.test(report) ? undefined : 'incomplete'
}

/** Validates the description of a probed identity that was saved with a template. */
export function readProbedIdentity(value: unknown): ProbedIdentity {
  const { machineIds, authorizedKeys, hostKey, sshdPid, hostname, hosts } = isRecord(value) ? value : {}
  const list = (paths: unknown, max: number) =>
    Array.isArray(paths) ? paths.filter(isPath).slice(0, max) : []
  const { path, format } = isRecord(hostKey) ? hostKey : {}
  return {
    machineIds: list(machineIds, MAX_MACHINE_IDS),
    authorizedKeys: list(authorizedKeys, MAX_AUTHORIZED_KEYS),
    hostKey: isPath(path) && (format === 'openssh' || format === 'dropbear') ? { path, format } : undefined,
    sshdPid: isPid(sshdPid) ? sshdPid : undefined,
    hostname: isPath(hostname) ? hostname : undefined,
    hosts: isPath(hosts) ? hosts : undefined,
  }
}

function describeHostKey(openssh: string | undefined, dropbear: string | undefined) {
  if (openssh !== undefined) return { path: openssh, format: 'openssh' } as const
  return dropbear === undefined ? undefined : ({ path: dropbear, format: 'dropbear' } as const)
}

function isPath(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_PATH_CHARS && /^\/[\x20-\x7e]+$/.test(value)
}

function isPid(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 1 && (value as number) < MAX_PID
}

/**
 * Builds the message that gives a clone its identity. What programs may use at once precedes the
 * answer; the rest follows in the same bytes, and ends with `sync`, so that the names and keys
 * survive a power cut.
 */
export function buildProbedMessage(
  arch: AgentArch,
  probed: ProbedIdentity,
  values: ProbedValues,
  now?: number,
): AgentMessage {
  const message = new MessageBuilder(arch)
  addClock(message, now ?? Date.now())
  const name = Buffer.from(values.hostname)
  message.checkedCall('set its host name', 'sethostname', name, name.length)
  const write = (to: MessageBuilder, path: string, content: Buffer, mode: number) =>
    to.writeFile(path, content, { flags: O_WRONLY | O_CREAT, mode })
  const key = padField(values.authorizedKey, FILE_BYTES.authorizedKeys)
  for (const path of probed.authorizedKeys) write(message, path, key, 0o600)
  if (probed.hostKey !== undefined) {
    const { path, format } = probed.hostKey
    write(message, path, padField(values.hostKey, FILE_BYTES.hostKey[format]), 0o600)
  }
  if (probed.sshdPid !== undefined) message.call('kill', probed.sshdPid, SIGHUP)
  const id = padField(`${values.machineId}\n`, FILE_BYTES.machineId)
  for (const path of probed.machineIds) write(message, path, id, 0o444)
  const first = message.build()
  const later = new MessageBuilder(arch)
  const { hostname, hosts } = probed
  if (hostname !== undefined)
    later.writeFile(hostname, Buffer.from(`${values.hostname}\n`), { flags: O_WRONLY | O_TRUNC })
  if (hosts !== undefined)
    write(later, hosts, padField(`127.0.1.1\t${values.hostname}\n`, HOSTS_BYTES), 0o644)
  if (probed.hostKey?.format === 'openssh') {
    const content = Buffer.from(`${values.publicHostKey}\n`)
    const flags = O_WRONLY | O_CREAT | O_TRUNC
    later.writeFile(`${probed.hostKey.path}.pub`, content, { flags, mode: 0o644 })
  }
  later.call('sync')
  return { ...first, bytes: Buffer.concat([first.bytes, later.build().bytes]) }
}

/** Builds the message whose answer contains the guest's monotonic clock. */
export function buildClockReading(arch: AgentArch): AgentMessage {
  const message = new MessageBuilder(arch)
  message.call('clock_gettime', CLOCK_MONOTONIC, MESSAGE_ADDRESS + NONCE_BYTES)
  return message.build()
}

/** Returns the clock in an answer to {@link buildClockReading}, in milliseconds. */
export function parseClockReading(arch: AgentArch, answer: Buffer): number {
  const { isBigEndian } = AGENT_TARGETS[arch]
  const read = (at: number) => Number(isBigEndian ? answer.readBigInt64BE(at) : answer.readBigInt64LE(at))
  return read(NONCE_BYTES) * 1000 + read(NONCE_BYTES + 8) / 1e6
}
