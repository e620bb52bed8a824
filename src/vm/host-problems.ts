import { access, constants, stat } from 'node:fs/promises'
import { findKeyProblem } from '../channel/ssh/private-key.js'
import { nearestNames } from '../common/nearest-name.js'
import type { QemuBinary } from '../host/qemu-binary.js'
import { queryCapabilities } from '../host/qemu-capabilities.js'
import type { NetworkOptions } from '../spec/options/network.js'
import type { VMOptions } from '../spec/options.js'
import { PreparedImage } from '../spec/prepared-image.js'
import type { OptionProblem } from '../spec/validate-options.js'

/** What of the options this host's files do not bear out. Values of a wrong type are passed over. */
export async function findFileProblems<VM>(options: VMOptions<VM>): Promise<OptionProblem[]> {
  const problems = await Promise.all([
    checkPath('kernel', options.kernel, 'file'),
    checkPath('initrd', options.initrd, 'file'),
    checkPath('dtb', options.dtb, 'file'),
    ...cards(options).map(({ path, card }) => checkPath(`${path}.tftp`, card.tftp, 'folder')),
    checkPath(
      'firmware.vars',
      typeof options.firmware === 'object' ? options.firmware?.vars : undefined,
      'file',
    ),
    checkKey(options.ssh),
    checkPath('image.secret.file', secretFile(options.image), 'file'),
  ])
  return problems.flat()
}

/** What of the options this host's QEMU does not have. Values of a wrong type are passed over. */
export async function findQemuProblems<VM>(
  options: VMOptions<VM>,
  qemu: QemuBinary,
): Promise<OptionProblem[]> {
  const { machines, cpus, devices } = await queryCapabilities(qemu)
  const check = (path: string, got: unknown, known: readonly string[], what: string): OptionProblem[] => {
    if (typeof got !== 'string' || known.includes(got)) return []
    const near = nearestNames(got, known)
    const such = near.length > 0 ? `, such as ${near.map((name) => `'${name}'`).join(', ')}` : ''
    return [{ path, got: `"${got}"`, expected: `${what} that QEMU ${qemu.version.text} has${such}` }]
  }
  const cpu = typeof options.cpu === 'string' ? options.cpu.split(',', 1)[0] : undefined
  return [
    ...check('machine', options.machine, machines, 'a machine type'),
    ...check('cpu', cpu, cpus, 'a CPU model'),
    ...cards(options).flatMap(({ path, card }) =>
      check(`${path}.model`, card.model, devices, 'a network card'),
    ),
  ]
}

/** The cards that are objects at all, and where they are. */
function cards<VM>({ network }: VMOptions<VM>): Array<{ path: string; card: NetworkOptions }> {
  const isList = Array.isArray(network)
  const all: readonly unknown[] = isList ? network : [network]
  return all.flatMap((card, index) => {
    if (typeof card !== 'object' || card === null) return []
    return [{ path: isList ? `network[${index}]` : 'network', card: card as NetworkOptions }]
  })
}

async function checkKey(ssh: VMOptions['ssh']): Promise<OptionProblem[]> {
  const key = typeof ssh === 'object' ? ssh?.privateKey : undefined
  if (key === '' || !(typeof key === 'string' || Buffer.isBuffer(key))) return []
  const problem = await findKeyProblem(key)
  if (problem === undefined) return []
  const expected = 'a private key without a passphrase (OpenSSH or PEM)'
  return [{ path: 'ssh.privateKey', got: `one that cannot be used: ${problem}`, expected }]
}

function secretFile<VM>(image: VMOptions<VM>['image']): unknown {
  const source = image instanceof PreparedImage ? image.source : image
  const secret = typeof source === 'object' && source !== null ? source.secret : undefined
  return typeof secret === 'object' ? secret?.file : undefined
}

async function checkPath(option: string, path: unknown, kind: 'file' | 'folder'): Promise<OptionProblem[]> {
  if (typeof path !== 'string') return []
  const problem = (why: string) => [
    { path: option, got: `"${path}", ${why}`, expected: `a ${kind} that can be read` },
  ]
  try {
    const found = await stat(path)
    if (kind === 'file' && found.isDirectory()) return problem('which is a folder')
    if (kind === 'folder' && !found.isDirectory()) return problem('which is no folder')
    await access(path, constants.R_OK)
    return []
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return problem(code === 'ENOENT' ? 'which does not exist' : `which cannot be read (${code})`)
  }
}
