import type { NetbootClient } from '../spec/netboot.js'
import type { Datagram } from './datagram.js'

/** One exchange of DHCP: what the guest asked for, and what it got. */
export interface DhcpExchange {
  /** The address of its card, as `52:54:00:12:34:56`. */
  readonly mac: string
  /** The messages in their order, as `DISCOVER`. */
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
const TYPES = ['', 'DISCOVER', 'OFFER', 'REQUEST', 'DECLINE', 'ACK', 'NAK', 'RELEASE', 'INFORM']
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
  readonly exchanges: DhcpExchange[] = []
  readonly #byId = new Map<string, Writable<DhcpExchange> & { messages: string[] }>()

  /** @param toDate makes a time of the capture one of this host. */
  add(datagram: Datagram, toDate: (atMs: number) => Date): void {
    const { payload, sourcePort, destinationPort, atMs } = datagram
    const isAsked = destinationPort === SERVER_PORT && sourcePort === CLIENT_PORT
    const isAnswer = destinationPort === CLIENT_PORT && sourcePort === SERVER_PORT
    if ((!isAsked && !isAnswer) || payload.length < OPTIONS_AT) return
    const options = readOptions(payload.subarray(OPTIONS_AT))
    const type = TYPES[options.get(OPTION.type)?.[0] ?? 0] ?? ''
    const mac = payload.toString('hex', 28, 34).replace(/(..)(?=.)/g, '$1:')
    const id = `${payload.toString('hex', 4, 8)} ${mac}`
    let exchange = this.#byId.get(id)
    if (exchange === undefined) {
      if (isAnswer) return
      exchange = { ...describeClient(mac, options), ...UNANSWERED, messages: [], startedAt: toDate(atMs) }
      this.#byId.set(id, exchange)
      this.exchanges.push(exchange)
    }
    exchange.messages.push(type)
    if (isAsked) return
    exchange.address = [...payload.subarray(16, 20)].join('.')
    exchange.bootfile =
      readText(options.get(OPTION.bootfile)) ?? readText(payload.subarray(108, 236)) ?? exchange.bootfile
    if (type !== 'ACK') return
    exchange.isGranted = true
    exchange.durationMs = toDate(atMs).getTime() - exchange.startedAt.getTime()
  }
}

const UNANSWERED = {
  isGranted: false,
  address: undefined,
  bootfile: undefined,
  durationMs: undefined,
} as const

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

function readOptions(bytes: Buffer): Map<number, Buffer> {
  const options = new Map<number, Buffer>()
  for (let at = 0; at < bytes.length && bytes[at] !== 255; ) {
    const code = bytes[at] as number
    if (code === 0) {
      at++
      continue
    }
    const length = bytes[at + 1] ?? 0
    options.set(code, bytes.subarray(at + 2, at + 2 + length))
    at += 2 + length
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
