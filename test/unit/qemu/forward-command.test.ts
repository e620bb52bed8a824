import { readFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { ForwardCommand } from '../../../src/qemu/forward-command.js'
import { buildCli } from '../../support/built-cli.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { runScript, writeScript } from '../../support/run-script.js'

beforeAll(buildCli)

/** Starts a command for one connection and returns the other end of the connection. */
async function serve(line: string) {
  const cwd = ownTmpdir()
  const path = join(cwd, 'server.sock')
  let command: ForwardCommand | undefined
  const server = createServer({ pauseOnConnect: true }, (connection) => {
    command = ForwardCommand.start(line, connection, { folder: { path: cwd, workingDirectory: cwd } })
    void command.ended.then(() => connection.destroy())
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  onTestFinished(() => void server.close())
  const guest = connect(path)
  onTestFinished(() => void guest.destroy())
  return { guest, end: async () => command?.kill() }
}

const readLine = (socket: Socket) =>
  new Promise<string>((resolve) => socket.once('data', (data) => resolve(String(data).trim())))

const isRunning = (pid: string) => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Prints the ids of a child process and of itself, then waits regardless of its streams. */
const FAMILY = 'sh -c \'trap "" PIPE HUP TERM; sleep 1000 & echo $! $$; wait; sleep 1000\''

test('a `guestfwd` command receives its arguments unchanged and the connection as its three streams', async () => {
  const { guest } = await serve("sh -c 'read line; echo \"$line, $1\"; echo problem >&2' x '$HOME *'")
  guest.write('hello\n')
  let text = ''
  guest.on('data', (data) => {
    text += data
  })
  await new Promise((resolve) => guest.once('close', resolve))
  expect(text).toBe('hello, $HOME *\nproblem\n')
})

test('killing a `guestfwd` command kills the processes that it has started', async () => {
  const { guest, end } = await serve(FAMILY)
  const pids = (await readLine(guest)).split(' ')
  expect(pids.map(isRunning)).toEqual([true, true])
  await end()
  await expect.poll(() => pids.map(isRunning)).toEqual([false, false])
})

test('processes that a `guestfwd` command leaves behind are killed', async () => {
  const { guest } = await serve("sh -c 'sleep 1000 & echo $!'")
  const pid = await readLine(guest)
  await expect.poll(() => isRunning(pid)).toBe(false)
})

test('a `guestfwd` command and its processes die when this process is killed', async () => {
  const folder = ownTmpdir()
  const script = runScript(
    folder,
    `import { connect, createServer } from 'node:net'
    import { ForwardCommand } from '#dist/src/qemu/forward-command.js'
    const path = ${JSON.stringify(join(folder, 'server.sock'))}
    createServer({ pauseOnConnect: true }, (connection) => {
      ForwardCommand.start(${JSON.stringify(FAMILY)}, connection, { folder: { path: ${JSON.stringify(folder)}, workingDirectory: ${JSON.stringify(folder)} } })
    }).listen(path, () => connect(path).on('data', (data) => {
      process.stdout.write(data, () => process.kill(process.pid, 'SIGKILL'))
    }))`,
  )
  const { stdout, signal } = await script
  expect(signal).toBe('SIGKILL')
  const pids = String(stdout).trim().split(' ')
  expect(pids).toHaveLength(2)
  await expect.poll(() => pids.map(isRunning)).toEqual([false, false])
})

test('a `guestfwd` command fails with an error if no more files can be opened', async () => {
  const folder = ownTmpdir()
  const script = writeScript(
    folder,
    `import { closeSync, openSync } from 'node:fs'
    import { connect, createServer } from 'node:net'
    import { ForwardCommand } from '#dist/src/qemu/forward-command.js'
    const path = ${JSON.stringify(join(folder, 'server.sock'))}
    createServer({ pauseOnConnect: true }, (connection) => {
      const open = []
      try { for (;;) open.push(openSync('/dev/null')) } catch {}
      for (let free = 0; free <= 10; free++) {
        try {
          ForwardCommand.start('true', connection, { folder: { path: ${JSON.stringify(folder)}, workingDirectory: ${JSON.stringify(folder)} } })
          console.log('started')
        } catch (error) { console.log(error.code) }
        closeSync(open.pop())
      }
      setTimeout(() => process.exit(0), 100)
    }).listen(path, () => connect(path))`,
  )
  const { stdout, exitCode } = await execa(
    'sh',
    ['-c', `ulimit -n 100; exec "${process.execPath}" "${script}"`],
    { reject: false, env: { TMPDIR: folder } },
  )
  expect({ exitCode, codes: [...new Set(stdout.split('\n'))] }).toEqual({
    exitCode: 0,
    codes: ['HOST_UNSUITABLE', 'started'],
  })
})
