import { buildElfHeader, elfHeaderBytes } from '../../common/static-elf.js'
import { MACHINE_CODE } from './machine-code.js'
import { ANSWER_BYTES, MESSAGE_ADDRESS, MESSAGE_BYTES, MessageBuilder, PORT_FD } from './message.js'
import { AGENT_TARGETS, type AgentArch, TargetWriter } from './target.js'

/** Virtio-serial port through which withvm communicates with the identity agent. */
export const AGENT_PORT = 'org.withvm.identity-agent.0'
/** Places of the identity agent in the images of withvm. */
export const INSTALLED_AGENT = {
  path: '/usr/lib/withvm/identity-agent',
  /** Unit of systemd. */
  unit: 'withvm-identity-agent.service',
  /** File with its process id, in images without systemd. */
  pidFile: '/run/withvm/identity-agent.pid',
} as const
/** Descriptor of the random device in the agent. */
export const RANDOM_FD = 11
const O_RDWR = 2

/** Address of the code. Its page in the file is followed by the message. */
const CODE_ADDRESS = 0x800000
const PAGE_BYTES = 4096
/** Largest page of a supported kernel (PowerPC and ARM). */
const LARGEST_PAGE_BYTES = 65_536
/** Delay between attempts to read a port without a peer, in nanoseconds. */
const PAUSE_NS = 20_000_000

/**
 * Builds the identity agent: a static program that executes the system calls of a message, then
 * waits for the next message on its virtio-serial port.
 *
 * @param options.announcement at most 64 bytes that it sends when it is ready for messages.
 * @param options.port path of the port's device, or a descriptor with which the program is started.
 */
export function buildIdentityAgent(
  arch: AgentArch,
  {
    announcement = '',
    port = `/dev/virtio-ports/${AGENT_PORT}`,
  }: { readonly announcement?: string; readonly port?: string | number } = {},
): Buffer {
  const target = AGENT_TARGETS[arch]
  const first = new MessageBuilder(arch)
  if (typeof port === 'number') first.call('dup3', port, PORT_FD, 0)
  else first.open(port, O_RDWR, PORT_FD)
  first.open('/dev/urandom', O_RDWR, RANDOM_FD)
  if (announcement !== '') first.call('write', PORT_FD, padAnnouncement(announcement), ANSWER_BYTES)
  const data = Buffer.alloc(MESSAGE_BYTES + 2 * target.wordBytes)
  first.buildSilent().copy(data)
  new TargetWriter(data, target).word(PAUSE_NS, MESSAGE_BYTES + target.wordBytes)
  const code = Buffer.from(MACHINE_CODE[arch].code, 'hex')
  const codeBytes = elfHeaderBytes(target) + code.length
  const header = buildElfHeader(target, {
    entry: CODE_ADDRESS + elfHeaderBytes(target),
    segments: [
      { address: CODE_ADDRESS, offset: 0, fileBytes: codeBytes, memoryBytes: codeBytes, access: 'rx' },
      {
        address: MESSAGE_ADDRESS,
        offset: PAGE_BYTES,
        fileBytes: data.length,
        memoryBytes: data.length,
        access: 'rw',
      },
    ],
    alignment: LARGEST_PAGE_BYTES,
  })
  return Buffer.concat([header, code, Buffer.alloc(PAGE_BYTES - codeBytes), data])
}

/** Returns an announcement as the agent sends it. */
export function padAnnouncement(text: string): Buffer {
  const bytes = Buffer.alloc(ANSWER_BYTES, '\n')
  if (bytes.write(text) !== Buffer.byteLength(text)) throw new RangeError('The announcement is too long.')
  return bytes
}
