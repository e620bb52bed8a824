import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { VMOptions } from 'withvm'
import { findQemu } from '../../../src/host/qemu-binary.js'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { openDisks } from '../../../src/launch/open-disks.js'
import { buildManualCommand, buildQemuCommand } from '../../../src/qemu/argv/build-command.js'
import type { QemuCommand, Wiring } from '../../../src/qemu/command.js'
import { readSystemDisk } from '../../../src/spec/list-disks.js'
import type { MachineSpec } from '../../../src/spec/machine-spec.js'
import { resolveSpec } from '../../../src/spec/resolve/resolve-spec.js'
import { anyMachine } from '../../support/any-machine.js'
import { qemuImg } from '../../support/disk-images.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** Number of machines. For each one, QEMU is started twice. */
const runs = Number(process.env.WITHVM_MACHINE_RUNS ?? 30)

test(`QEMU accepts the arguments of ${runs} random machines with valid options`, async () => {
  const folder = ownTmpdir()
  const raw = join(folder, 'a,id=x.raw')
  const qcow2 = join(folder, "b c'.qcow2")
  writeFileSync(raw, Buffer.alloc(1 << 20))
  qemuImg('create', '-q', '-f', 'qcow2', qcow2, '1M')
  const tftp = join(folder, 'tftp,restrict=off')
  mkdirSync(tftp)
  const kernel = (await resolveImage('tiny')).directBoot?.kernel ?? ''
  const { path: qemuPath } = await findQemu({})
  await using peer = await openPeer(folder)
  await fc.assert(
    fc.asyncProperty(anyMachine({ raw, qcow2, folder: tftp, kernel }), async (options) => {
      const spec = await plan(options)
      const wiring = wire(spec, qemuPath, folder)
      await start(buildQemuCommand(spec, wiring), ['-S'])
      await start(buildManualCommand(spec, wiring), ['-S', '-qmp', `unix:${wiring.qmpSocket}`])
    }),
    { numRuns: runs, endOnFailure: true },
  )
  expect(peer.greeted).toBeGreaterThanOrEqual(2 * runs)
})

async function plan(options: VMOptions): Promise<MachineSpec> {
  const { image: source } = readSystemDisk(options)
  const image = typeof source === 'object' && 'path' in source ? await resolveImage(source) : undefined
  return resolveSpec(options, image, await openDisks(options)) as MachineSpec
}

function wire(spec: MachineSpec, qemuPath: string, folder: string): Wiring {
  const socket = join(folder, 'any.sock')
  return {
    qemuPath,
    accelerator: 'tcg',
    sandbox: true,
    overlay: spec.image?.disk && { path: join(folder, "b c'.qcow2"), format: 'qcow2' },
    disks: spec.disks.map(({ content }) =>
      content.kind === 'empty' ? undefined : { path: join(folder, "b c'.qcow2"), format: 'qcow2' },
    ),
    qmpSocket: join(folder, 'qmp.sock'),
    serialSocket: socket,
    serialLog: join(folder, 'serial.log'),
    agentSocket: socket,
    identityAgentSocket: socket,
    mac: '52:54:00:00:00:01',
    furtherMacs: spec.furtherNetworks.map((_, index) => `52:54:00:00:01:0${index}`),
    smbiosFiles: [],
    hostPorts: [],
  }
}

/** Starts QEMU with stopped vCPUs. The peer ends it over QMP as soon as it connects. */
async function start({ file, args }: QemuCommand, more: readonly string[]): Promise<void> {
  const qemu = spawn(file, [...args, ...more, '-snapshot'], { stdio: ['pipe', 'ignore', 'pipe'] })
  const stderr = text(qemu.stderr)
  const [code, signal] = await once(qemu, 'close')
  if (code !== 0)
    throw new Error(`QEMU ended with ${code ?? signal}: ${await stderr}
${args.join(' ')}`)
}

/** Accepts all connections of QEMU and replies to the greeting of QMP with `quit`. */
async function openPeer(folder: string) {
  const sockets = new Set<Socket>()
  let greeted = 0
  const listen = async (name: string, onConnection: (socket: Socket) => void): Promise<Server> => {
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => sockets.delete(socket))
      onConnection(socket)
    }).listen(join(folder, name))
    await once(server, 'listening')
    return server
  }
  const servers = [
    await listen('any.sock', (socket) => void socket.resume()),
    await listen('qmp.sock', (socket) => {
      socket.once('data', () => {
        greeted++
        socket.resume()
        socket.write('{"execute":"qmp_capabilities"}\n{"execute":"quit"}\n')
      })
    }),
  ]
  return {
    get greeted() {
      return greeted
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      for (const server of servers) server.close()
    },
  }
}
