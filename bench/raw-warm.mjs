// Saves a guest and restores clones with only QEMU, as the lower bound of a warm start. The clones do not get their own identities.
import { spawn } from 'node:child_process'
import { createWriteStream, mkdtempSync, openSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { execute, login, prepare } from './raw-boot.mjs'

/** Boots a guest until its SSH server and its agent respond, and saves it. Returns the snapshot. */
export async function saveRaw(host, memory = '256M') {
  const dir = mkdtempSync(join(tmpdir(), 'raw-warm-'))
  const file = (name) => join(dir, name)
  const raw = await prepare({
    ...host,
    options: { memory },
    wiring: { memoryFile: { path: file('memory'), isWritten: true } },
  })
  const qemu = start(raw)
  const qmp = await openQmp(raw.qmp)
  const agent = openAgent(raw.agent)
  await untilSshd(raw.serial)
  ;(await login(raw.port, raw.privateKey)).end()
  await agent.exec('true')
  await new Promise((resolve) => setTimeout(resolve, 1000)) // the guest completes its boot
  const saving = createServer()
  await new Promise((resolve) => saving.listen(file('socket'), resolve))
  const saved = new Promise((resolve) =>
    saving.once('connection', (socket) => resolve(finished(socket.pipe(createWriteStream(file('state')))))),
  )
  await qmp.execute('migrate-set-capabilities', IGNORE_SHARED)
  await qmp.execute('migrate', { uri: `unix:${file('socket')}` })
  await saved
  while ((await qmp.execute('query-migrate')).status !== 'completed')
    await new Promise((resolve) => setTimeout(resolve, 5))
  await ended(qemu, () => qmp.execute('quit').catch(() => {}))
  saving.close()
  return {
    memory: file('memory'),
    state: file('state'),
    disk: raw.overlay,
    privateKey: raw.privateKey,
    options: { memory },
    mac: raw.mac,
    dispose: () => {
      raw.dispose()
      rmSync(dir, { recursive: true })
    },
  }
}

/** Restores a clone, waits for the first result of its agent or over SSH, and ends it. Returns the duration, milliseconds. */
export async function restoreRaw(host, snapshot, channel, whileItRuns = async () => {}) {
  const startedAt = performance.now()
  const raw = await prepare({
    ...host,
    options: snapshot.options,
    disk: snapshot.disk,
    wiring: { memoryFile: { path: snapshot.memory, isWritten: false }, isIncoming: true, mac: snapshot.mac },
  })
  const qemu = start(raw, openSync(snapshot.state))
  try {
    const qmp = await openQmp(raw.qmp)
    const resumed = qmp.event('RESUME')
    await qmp.execute('migrate-set-capabilities', IGNORE_SHARED)
    await qmp.execute('migrate-incoming', { uri: 'fd:0' })
    await resumed
    if (channel === 'agent') {
      await openAgent(raw.agent).exec('true')
    } else {
      await execute(await login(raw.port, snapshot.privateKey), 'true')
    }
    const took = performance.now() - startedAt
    await whileItRuns(qemu.pid)
    return took
  } finally {
    await ended(qemu, () => qemu.kill('SIGKILL'))
    raw.dispose()
  }
}

const IGNORE_SHARED = { capabilities: [{ capability: 'x-ignore-shared', state: true }] }

function start(raw, stdin = 'ignore') {
  return spawn(raw.command.file, raw.command.args, { stdio: [stdin, 'ignore', 'inherit'] })
}

function ended(qemu, end) {
  const gone = new Promise((resolve) => qemu.once('exit', resolve))
  end()
  return gone
}

function untilSshd(server) {
  return new Promise((resolve) => {
    let log = ''
    server.connected.then((socket) =>
      socket.on('data', (bytes) => {
        log += bytes
        if (log.includes('withvm: sshd')) resolve()
      }),
    )
  })
}

async function openQmp(server) {
  const socket = await server.connected
  socket.on('error', () => {})
  const waiting = new Map()
  const events = new Map()
  let next = 0
  let rest = ''
  socket.on('data', (bytes) => {
    const lines = (rest + bytes).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      const message = JSON.parse(line)
      events.get(message.event)?.()
      waiting.get(message.id)?.(message.return)
    }
  })
  const execute = (name, args = {}) =>
    new Promise((resolve) => {
      const id = ++next
      waiting.set(id, resolve)
      socket.write(`${JSON.stringify({ execute: name, arguments: args, id })}\n`)
    })
  await execute('qmp_capabilities')
  return { execute, event: (name) => new Promise((resolve) => events.set(name, resolve)) }
}

function openAgent(server) {
  let onReply = () => {}
  let rest = ''
  const opened = server.connected.then((socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      const lines = (rest + bytes).split('\n')
      rest = lines.pop()
      for (const line of lines) onReply(JSON.parse(line.replace(/^[^{]*/, '')))
    })
    return socket
  })
  const request = async (message, isReply) => {
    const socket = await opened
    return new Promise((resolve) => {
      const timer = setInterval(send, 250)
      function send() {
        socket.write(`${JSON.stringify(message)}\n`)
      }
      onReply = (reply) => {
        if (!isReply(reply)) return
        clearInterval(timer)
        resolve(reply.return)
      }
      send()
    })
  }
  return {
    async exec(command) {
      const id = Math.floor(Math.random() * 1e9)
      await request(
        { execute: 'guest-sync-delimited', arguments: { id } },
        (message) => message.return === id,
      )
      const args = { path: '/bin/sh', arg: ['-c', command], 'capture-output': true }
      const { pid } = await request(
        { execute: 'guest-exec', arguments: args },
        (message) => message.return?.pid > 0,
      )
      for (;;) {
        const status = await request(
          { execute: 'guest-exec-status', arguments: { pid } },
          (message) => 'exited' in message.return,
        )
        if (status.exited) return status
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    },
  }
}
