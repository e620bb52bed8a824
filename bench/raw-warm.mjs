// Freezes a guest and lets others go on from it with QEMU alone: the floor of a warm start. All clones are alike; nothing is made their own.
import { spawn } from 'node:child_process'
import { createWriteStream, mkdtempSync, openSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { execute, login, prepare } from './raw-boot.mjs'

/** Boots a guest until its SSH server and its agent answer, and saves it. Gives what clones need. */
export async function freezeRaw(host, memory = '256M') {
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
  await new Promise((resolve) => setTimeout(resolve, 1000)) // what the guest does last of its boot
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

/** Lets a clone go on, up to the first result of its agent (or of SSH), and ends it. Gives milliseconds from its call. */
export async function thawRaw(host, frozen, channel, whileItRuns = async () => {}) {
  const startedAt = performance.now()
  const raw = await prepare({
    ...host,
    options: frozen.options,
    disk: frozen.disk,
    wiring: { memoryFile: { path: frozen.memory, isWritten: false }, isIncoming: true, mac: frozen.mac },
  })
  const qemu = start(raw, openSync(frozen.state))
  try {
    const qmp = await openQmp(raw.qmp)
    const resumed = qmp.event('RESUME')
    await qmp.execute('migrate-set-capabilities', IGNORE_SHARED)
    await qmp.execute('migrate-incoming', { uri: 'fd:0' })
    await resumed
    if (channel === 'agent') {
      await openAgent(raw.agent).exec('true')
    } else {
      await execute(await login(raw.port, frozen.privateKey), 'true')
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
  let answer = () => {}
  let rest = ''
  const opened = server.connected.then((socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      const lines = (rest + bytes).split('\n')
      rest = lines.pop()
      for (const line of lines) answer(JSON.parse(line.replace(/^[^{]*/, '')))
    })
    return socket
  })
  const ask = async (request, isAnswer) => {
    const socket = await opened
    return new Promise((resolve) => {
      const again = setInterval(send, 250)
      function send() {
        socket.write(`${JSON.stringify(request)}\n`)
      }
      answer = (message) => {
        if (!isAnswer(message)) return
        clearInterval(again)
        resolve(message.return)
      }
      send()
    })
  }
  return {
    async exec(command) {
      const id = Math.floor(Math.random() * 1e9)
      await ask({ execute: 'guest-sync-delimited', arguments: { id } }, (message) => message.return === id)
      const args = { path: '/bin/sh', arg: ['-c', command], 'capture-output': true }
      const { pid } = await ask(
        { execute: 'guest-exec', arguments: args },
        (message) => message.return?.pid > 0,
      )
      for (;;) {
        const status = await ask(
          { execute: 'guest-exec-status', arguments: { pid } },
          (message) => 'exited' in message.return,
        )
        if (status.exited) return status
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    },
  }
}
