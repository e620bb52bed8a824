// Runs debvm as its manual describes: `debvm-run`, `debvm-waitssh` and `ssh`. The guest is killed after the first result.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Starts one guest and runs a command in it. */
export async function runDebvm(image, { env }) {
  const port = await freePort()
  const args = ['-i', image.disk, '-s', String(port), '--', '-snapshot']
  const harness = spawn('debvm-run', args, { env, stdio: 'ignore', detached: true })
  const ended = once(harness, 'exit')
  try {
    execFileSync('debvm-waitssh', ['-q', '-t', '600', String(port)])
    const known = ['-o', 'NoHostAuthenticationForLocalhost=yes', '-o', 'BatchMode=yes']
    execFileSync('ssh', [...known, '-i', image.key, '-p', String(port), 'root@127.0.0.1', 'true'], {
      stdio: 'ignore',
    })
  } finally {
    process.kill(-harness.pid, 'SIGKILL')
    await ended
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}
