import type { NetbootClient } from '../spec/netboot.js'
import { BoundedList } from './bounded-list.js'
import type { Datagram } from './datagram.js'
import { MALFORMED } from './malformed.js'

/** One exchange of DHCP: what the guest asked for, and what it got. */
export interface DhcpExchange {
  /** The address of its card, as `52:54:00:12:34:56`. */
  readonly mac: string
  /** The messages in their order, as `DISCOVER`: the first 32. */
  readonly messages: readonly string[]
  /** Whether the guest has the address: the server acknowledged it. */
  readonly isGranted: boolean
  /** The address that was offered. */
  readonly address: string | undefined
  /** The file that the server names. */
  readonly bootfile: string | undefined
  /** What asks: the vendor's class, as `PXEClient:Arch:00000:UNDI:002001`, and the user's, as `iPXE`. */
  readonly vendorClass: string | undefined
  readonly userClass: string | undefined
  readonly firmware: NetbootClient['firmware']
  /** The machine's UUID, where it says so. */
  readonly uuid: string | undefined
  readonly startedAt: Date
  /** By the guest's clock; undefined until it is granted. */
  readonly durationMs: number | undefined
}

/** Ports of RFC 2131. */
const SERVER_PORT = 67
const CLIENT_PORT = 68
/** Where the fixed part of a message ends, and the options begin behind their mark (RFC 2131, 2.). */
const OPTIONS_AT = 240
const MAGIC_AT = 236
const MAGIC = 0x63825363
const TYPES = ['', 'DISCOVER', 'OFFER', 'REQUEST', 'DECLINE', 'ACK', 'NAK', 'RELEASE', 'INFORM']
/** No guest needs more to boot; one that floods the wire gets no more of this process's memory. */
const MOST_EXCHANGES = 1000
const MOST_MESSAGES = 32
const OPTION = { type: 53, vendorClass: 60, bootfile: 67, userClass: 77, arch: 93, uuid: 97 } as const
/** RFC 4578 and IANA's list "Processor Architecture Types". */
const FIRMWARES: Readonly<Record<number, NetbootClient['firmware']>> = {
  0: 'bios',
  6: 'uefi-ia32',
  7: 'uefi-x64',
  9: 'uefi-x64',
  11: 'uefi-arm64',
  15: 'uefi-ia32',
  16: 'uefi-x64',
  19: 'uefi-arm64',
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** Follows the exchanges of DHCP on a wire. */
export class DhcpLog {
  readonly #exchanges = new BoundedList<DhcpExchange>(MOST_EXCHANGES)
  /** Those that may get further messages, the oldest first. */
  readonly #byId = new Map<string, Writable<DhcpExchange> & { messages: string[] }>()

  get exchanges(): BoundedList<DhcpExchange> {
    return this.#exchanges
  }

  /** Takes in a datagram, unless it is not DHCP. Returns {@link MALFORMED} for a message that contradicts RFC 2131. */
  add(datagram: Datagram): typeof MALFORMED | undefined {
    const { payload, sourcePort, destinationPort, atMs } = datagram
    const isAsked = destinationPort === SERVER_PORT && sourcePort === CLIENT_PORT
    const isAnswer = destinationPort === CLIENT_PORT && sourcePort === SERVER_PORT
    if (!isAsked && !isAnswer) return undefined
    const message = parseMessage(datagram)
    if (message === undefined) return MALFORMED
    const { options, type } = message
    const mac = payload.toString('hex', 28, 34).replace(/(..)(?=.)/g, '$1:')
    const id = `${payload.toString('hex', 4, 8)} ${mac}`
    let exchange = this.#byId.get(id)
    if (exchange === undefined) {
      if (isAnswer) return undefined
      exchange = { ...describeClient(mac, options), ...UNANSWERED, messages: [], startedAt: new Date(atMs) }
      this.#remember(id, exchange)
    }
    if (exchange.messages.length < MOST_MESSAGES) exchange.messages.push(type)
    if (isAsked) return undefined
    exchange.address = [...payload.subarray(16, 20)].join('.')
    exchange.bootfile =
      readText(options.get(OPTION.bootfile)) ?? readText(payload.subarray(108, 236)) ?? exchange.bootfile
    if (type !== 'ACK') return undefined
    exchange.isGranted = true
    exchange.durationMs = new Date(atMs).getTime() - exchange.startedAt.getTime()
    return undefined
  }

  #remember(id: string, exchange: Writable<DhcpExchange> & { messages: string[] }): void {
    const [oldest] = this.#byId.keys()
    if (oldest !== undefined && this.#byId.size >= MOST_EXCHANGES) this.#byId.delete(oldest)
    this.#byId.set(id, exchange)
    this.#exchanges.push(exchange)
  }
}

const UNANSWERED = {
  isGranted: false,
  address: undefined,
  bootfile: undefined,
  durationMs: undefined,
} as const

interface DhcpMessage {
  readonly type: string
  readonly options: ReadonlyMap<number, Buffer>
}

/** Returns undefined for a message that contradicts RFC 2131, or RFC 4578 where it names an architecture. */
function parseMessage({ payload, length }: Datagram): DhcpMessage | undefined {
  if (payload.length < OPTIONS_AT || payload.readUInt32BE(MAGIC_AT) !== MAGIC) return undefined
  const options = readOptions(payload.subarray(OPTIONS_AT), { isCut: payload.length < length })
  const kind = options?.get(OPTION.type)
  const type = kind?.length === 1 ? TYPES[kind[0] as number] : undefined
  const arch = options?.get(OPTION.arch)
  const isArchWhole = arch === undefined || (arch.length >= 2 && arch.length % 2 === 0)
  return options === undefined || !type || !isArchWhole ? undefined : { type, options }
}

function describeClient(mac: string, options: ReadonlyMap<number, Buffer>) {
  const arch = options.get(OPTION.arch)
  const uuid = options.get(OPTION.uuid)
  return {
    mac,
    vendorClass: readText(options.get(OPTION.vendorClass)),
    userClass: readText(options.get(OPTION.userClass)),
    firmware: (arch === undefined ? undefined : FIRMWARES[arch.readUInt16BE(0)]) ?? 'unknown',
    // A machine without one says so by zeros.
    uuid: uuid?.length === 17 && uuid.some((byte) => byte !== 0) ? formatUuid(uuid.subarray(1)) : undefined,
  } as const
}

/** Returns undefined where an option reaches beyond the message. Where the capture cut the message, that option is left out. */
function readOptions(bytes: Buffer, { isCut }: { readonly isCut: boolean }): Map<number, Buffer> | undefined {
  const options = new Map<number, Buffer>()
  for (let at = 0; at < bytes.length && bytes[at] !== 255; ) {
    const code = bytes[at] as number
    if (code === 0) {
      at++
      continue
    }
    const end = at + 2 + (bytes[at + 1] ?? Number.POSITIVE_INFINITY)
    if (end > bytes.length) return isCut ? options : undefined
    options.set(code, bytes.subarray(at + 2, end))
    at = end
  }
  return options
}

function readText(bytes: Buffer | undefined): string | undefined {
  const text = bytes?.toString('latin1').replace(/\0.*$/s, '')
  return text === '' ? undefined : text
}

/** Firmware sends the first three fields in the byte order of its processor (RFC 4578, 2.3): as they were set, they read so. */
function formatUuid(bytes: Buffer): string {
  const hex = bytes.toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
