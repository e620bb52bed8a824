import type { NetbootClient } from '../spec/netboot.js'
import { BoundedList } from './bounded-list.js'
import type { Datagram } from './datagram.js'
import { MALFORMED } from './malformed.js'

/** DHCP exchange between a guest and the server. */
export interface DhcpExchange {
  /** MAC address of the client, such as `52:54:00:12:34:56`. */
  readonly mac: string
  /** Message types in order, such as `DISCOVER`: the first 32. */
  readonly messages: readonly string[]
  /** True if the server has acknowledged the address. */
  readonly isGranted: boolean
  /** Offered IP address. */
  readonly address: string | undefined
  /** Boot file named by the server. */
  readonly bootfile: string | undefined
  /** Vendor class of the client, such as `PXEClient:Arch:00000:UNDI:002001`. */
  readonly vendorClass: string | undefined
  /** User class of the client, such as `iPXE`. */
  readonly userClass: string | undefined
  /** Firmware of the client, by the architecture that it reports. */
  readonly firmware: NetbootClient['firmware']
  /** UUID of the client, if it reports one. */
  readonly uuid: string | undefined
  /** Time of the first message. */
  readonly startedAt: Date
  /** Duration by the guest's clock; undefined until the address is granted. */
  readonly durationMs: number | undefined
}

/** Ports of RFC 2131. */
const SERVER_PORT = 67
const CLIENT_PORT = 68
/** Offsets of the options and of the magic cookie before them (RFC 2131, 2.). */
const OPTIONS_AT = 240
const MAGIC_AT = 236
const MAGIC = 0x63825363
const TYPES = ['', 'DISCOVER', 'OFFER', 'REQUEST', 'DECLINE', 'ACK', 'NAK', 'RELEASE', 'INFORM']
/**
 * Maximum number of recorded exchanges, which bounds the memory if the guest floods the network. No
 * boot needs more.
 */
const MAX_EXCHANGES = 1000
const MAX_MESSAGES = 32
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

/** Records DHCP exchanges from captured datagrams. */
export class DhcpLog {
  readonly #exchanges = new BoundedList<DhcpExchange>(MAX_EXCHANGES)
  /** Exchanges that may receive further messages, oldest first. */
  readonly #byId = new Map<string, Writable<DhcpExchange> & { messages: string[] }>()

  get exchanges(): BoundedList<DhcpExchange> {
    return this.#exchanges
  }

  /**
   * Adds a datagram; ignores other protocols. Returns {@link MALFORMED} for a message that violates
   * RFC 2131.
   */
  add(datagram: Datagram): typeof MALFORMED | undefined {
    const { payload, sourcePort, destinationPort, atMs } = datagram
    const isRequest = destinationPort === SERVER_PORT && sourcePort === CLIENT_PORT
    const isReply = destinationPort === CLIENT_PORT && sourcePort === SERVER_PORT
    if (!isRequest && !isReply) return undefined
    const message = parseMessage(datagram)
    if (message === undefined) return MALFORMED
    const { options, type } = message
    const mac = payload.toString('hex', 28, 34).replace(/(..)(?=.)/g, '$1:')
    const id = `${payload.toString('hex', 4, 8)} ${mac}`
    let exchange = this.#byId.get(id)
    if (exchange === undefined) {
      if (isReply) return undefined
      exchange = { ...describeClient(mac, options), ...UNANSWERED, messages: [], startedAt: new Date(atMs) }
      this.#remember(id, exchange)
    }
    if (exchange.messages.length < MAX_MESSAGES) exchange.messages.push(type)
    if (isRequest) return undefined
    exchange.address = [...payload.subarray(16, 20)].join('.')
    exchange.bootfile =
      readDhcpText(options.get(OPTION.bootfile)) ??
      readDhcpText(payload.subarray(108, 236)) ??
      exchange.bootfile
    if (type !== 'ACK') return undefined
    exchange.isGranted = true
    exchange.durationMs = new Date(atMs).getTime() - exchange.startedAt.getTime()
    return undefined
  }

  #remember(id: string, exchange: Writable<DhcpExchange> & { messages: string[] }): void {
    const [oldest] = this.#byId.keys()
    if (oldest !== undefined && this.#byId.size >= MAX_EXCHANGES) this.#byId.delete(oldest)
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

/**
 * Returns undefined for a message that violates RFC 2131, or whose architecture violates RFC 4578.
 */
function parseMessage({ payload, length }: Datagram): DhcpMessage | undefined {
  if (payload.length < OPTIONS_AT || payload.readUInt32BE(MAGIC_AT) !== MAGIC) return undefined
  const options = readOptions(payload.subarray(OPTIONS_AT), { isCut: payload.length < length })
  const kind = options?.get(OPTION.type)
  const type = kind?.length === 1 ? TYPES[kind[0] as number] : undefined
  const arch = options?.get(OPTION.arch)
  const isArchValid = arch === undefined || (arch.length >= 2 && arch.length % 2 === 0)
  return options === undefined || !type || !isArchValid ? undefined : { type, options }
}

function describeClient(mac: string, options: ReadonlyMap<number, Buffer>) {
  const arch = options.get(OPTION.arch)
  const uuid = options.get(OPTION.uuid)
  return {
    mac,
    vendorClass: readDhcpText(options.get(OPTION.vendorClass)),
    userClass: readDhcpText(options.get(OPTION.userClass)),
    firmware: (arch === undefined ? undefined : FIRMWARES[arch.readUInt16BE(0)]) ?? 'unknown',
    // A client without a UUID sends zeros.
    uuid: uuid?.length === 17 && uuid.some((byte) => byte !== 0) ? formatUuid(uuid.subarray(1)) : undefined,
  } as const
}

/**
 * Returns undefined if an option extends beyond the message. In a truncated capture, that option is
 * omitted.
 */
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

function readDhcpText(bytes: Buffer | undefined): string | undefined {
  const text = bytes?.toString('latin1').replace(/\0.*$/s, '')
  return text === '' ? undefined : text
}

/**
 * Formats a UUID. Firmware sends the first three fields in the byte order of SMBIOS, so no swap is
 * needed (RFC 4578, 2.3).
 */
function formatUuid(bytes: Buffer): string {
  const hex = bytes.toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
