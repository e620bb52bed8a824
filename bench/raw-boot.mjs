// Boots a guest with only QEMU and ssh2, as the reference for withvm: without checks, retries and error messages.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ssh2 from 'ssh2'
import { generateSshKeyPair, toDropbearHostKey } from '../dist/src/channel/ssh/keys.js'
import { createOverlay } from '../dist/src/disk/overlay.js'
import { resolveImage } from '../dist/src/image/resolve-image.js'
import { buildSmbiosStrings } from '../dist/src/provisioning/credentials.js'
import { buildQemuCommand } from '../dist/src/qemu/argv/build-command.js'
import { resolveSpec } from '../dist/src/spec/resolve/resolve-spec.js'

/** Prepares everything that the command line of withvm refers to: overlay, keys, sockets, a port. */
export async function prepare(
  { qemuPath, accelerator, qemuArgs = [], options = {}, disk, wiring = {} },
  image = 'tiny',
) {
  const dir = mkdtempSync(join(tmpdir(), 'raw-'))
  const path = (name) => join(dir, name)
  const spec = resolveSpec({ qemuArgs, ...options }, await resolveImage(image))
  const base = disk === undefined ? spec.image.disk : { path: disk, format: 'qcow2' }
  await createOverlay({ base, path: path('disk.qcow2') })
  const client = generateSshKeyPair()
  const credentials = {
    'ssh.authorized_keys.root': Buffer.from(client.publicKey),
    'system.hostname': Buffer.from(image),
    ...hostKey(spec.image.traits.hostKeyFormat),
  }
  const smbiosFiles = buildSmbiosStrings(credentials).map((text, index) => {
    writeFileSync(path(`smbios-${index}`), text)
    return path(`smbios-${index}`)
  })
  const port = await freePort()
  const names = ['qmp', 'serial', 'agent', 'identity']
  const [qmp, serial, agent, identityAgent] = await Promise.all(names.map((name) => listen(path(name))))
  const mac = '52:54:00:12:34:56'
  const command = buildQemuCommand(spec, {
    qemuPath,
    accelerator,
    sandbox: true,
    overlay: { path: path('disk.qcow2'), format: 'qcow2' },
    qmpSocket: path('qmp'),
    serialSocket: path('serial'),
    serialLog: path('serial.log'),
    agentSocket: path('agent'),
    identityAgentSocket: path('identity'),
    mac,
    smbiosFiles,
    hostPorts: [port],
    ...wiring,
  })
  const dispose = () => {
    for (const server of [qmp, serial, agent, identityAgent]) server.close()
    rmSync(dir, { recursive: true })
  }
  const overlay = path('disk.qcow2')
  return { command, port, privateKey: client.privateKey, mac, overlay, qmp, serial, agent, dispose }
}

function hostKey(format) {
  const key = generateSshKeyPair()
  return format === 'dropbear'
    ? { 'withvm.dropbear_host_key': toDropbearHostKey(key) }
    : { 'withvm.ssh_host_ed25519_key': Buffer.from(key.privateKey) }
}

/** Boots a guest up to its first SSH result. Returns the time of each stage since the start of QEMU. */
export async function bootRaw(host, image) {
  const raw = await prepare(host, image)
  const startedAt = performance.now()
  const since = () => performance.now() - startedAt
  const qemu = spawn(raw.command.file, raw.command.args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const marks = {}
  try {
    await new Promise((resolve) => {
      let log = ''
      raw.serial.once('connection', (socket) =>
        socket.on('data', (bytes) => {
          log += bytes
          if (marks.init === undefined && log.includes('withvm: init')) marks.init = since()
          if (log.includes('withvm: sshd')) resolve()
        }),
      )
    })
    const ssh = await login(raw.port, raw.privateKey)
    marks.login = since()
    await execute(ssh, 'true')
    marks.result = since()
    return marks
  } finally {
    const ended = new Promise((resolve) => qemu.once('exit', resolve))
    qemu.kill('SIGKILL')
    await ended
    raw.dispose()
  }
}

/** Starts QEMU with stopped vCPUs and ends it over QMP. Returns the duration. */
export async function startAndQuit(host) {
  const raw = await prepare({ ...host, qemuArgs: ['-S'] })
  const startedAt = performance.now()
  const qemu = spawn(raw.command.file, raw.command.args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise((resolve) => qemu.once('exit', resolve))
  raw.qmp.once('connection', (socket) => {
    socket.on('error', () => {}) // QEMU ends while it sends its last response
    socket.once('data', () => socket.write('{"execute":"qmp_capabilities"}\n{"execute":"quit"}\n'))
  })
  await ended
  const took = performance.now() - startedAt
  raw.dispose()
  return took
}

export function login(port, privateKey) {
  const client = new ssh2.Client()
  return new Promise((resolve, reject) => {
    client.once('ready', () => resolve(client)).on('error', reject)
    client.connect({
      host: '127.0.0.1',
      port,
      username: 'root',
      privateKey,
      // The ciphers and the key exchange that are fastest under emulation, as in withvm.
      algorithms: {
        kex: ['curve25519-sha256'],
        serverHostKey: ['ssh-ed25519'],
        cipher: ['chacha20-poly1305@openssh.com', 'aes128-ctr'],
      },
    })
    client.setNoDelay(true)
  })
}

export function execute(client, command) {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, stream) => {
      if (error) return reject(error)
      stream.resume()
      stream.stderr.resume()
      stream.once('close', resolve)
    })
  })
}

function listen(path) {
  const server = createServer()
  server.connected = new Promise((resolve) => server.once('connection', resolve))
  return new Promise((resolve) => server.listen(path, () => resolve(server)))
}

async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}
