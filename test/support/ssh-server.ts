import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { lstat, mkdir, open, readdir, readlink, stat, symlink, unlink } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import ssh2, { type Connection, type SFTPWrapper } from 'ssh2'
import type { SshKeyPair } from '../../src/channel/ssh/keys.js'

export interface TestSshServer {
  readonly port: number
  /** Cuts every connection, like a power cut of a guest. */
  cut(): void
  close(): Promise<void>
}

export interface TestServerOptions {
  readonly hostKey: SshKeyPair
  /** Accepted public keys, in the form of the second word of a public key file. */
  readonly authorized?: readonly Buffer[]
  readonly password?: string
  /** If true, a password is accepted only through `keyboard-interactive`, as with some PAM configurations. */
  readonly isInteractive?: boolean
  /** Maximum number of open channels per connection. */
  readonly maxSessions?: number
  readonly sftp?: boolean
  /** Accepted algorithms. @default those of the library */
  readonly algorithms?: ssh2.Algorithms
  /** Returns a forged folder listing: names may lead anywhere, and the files need not exist. */
  readonly listing?: (folder: string, round: number) => readonly ListedFile[] | undefined
}

export interface ListedFile {
  readonly name: string
  /** Mode, including the file type: 0o100644 is a file, 0o040755 a folder, 0o120777 a link. */
  readonly mode: number
  readonly size?: number
}

/** Starts an SSH server in this process that runs commands with `/bin/sh` on this host, as this user. */
export async function startSshServer(options: TestServerOptions): Promise<TestSshServer> {
  const connections = new Set<Connection>()
  const children = new Set<ChildProcess>()
  const { algorithms } = options
  const config = { hostKeys: [options.hostKey.privateKey], ...(algorithms && { algorithms }) }
  const server = new ssh2.Server(config, (connection) => {
    connections.add(connection)
    connection.on('error', () => {})
    connection.on('close', () => connections.delete(connection))
    connection.on('authentication', (context) => {
      if (options.isInteractive) {
        if (context.method !== 'keyboard-interactive') return context.reject(['keyboard-interactive'])
        return context.prompt([{ prompt: 'Password: ', echo: false }], ([answer]) =>
          answer === options.password ? context.accept() : context.reject(['keyboard-interactive']),
        )
      }
      const isKnown =
        (context.method === 'publickey' && options.authorized?.some((key) => key.equals(context.key.data))) ||
        (context.method === 'password' && context.password === options.password)
      if (isKnown) context.accept()
      else context.reject(['publickey', 'password'])
    })
    let sessions = 0
    connection.on('session', (accept, reject) => {
      if (sessions >= (options.maxSessions ?? 10)) return reject()
      sessions++
      const session = accept()
      session.on('close', () => sessions--)
      session.on('pty', (acceptPty) => acceptPty())
      if (options.sftp !== false) session.on('sftp', (acceptSftp) => serveFiles(acceptSftp(), options))
      const run = (command: string, acceptRun: () => ssh2.ServerChannel) => {
        const channel = acceptRun()
        const started = spawn('/bin/sh', ['-c', command])
        children.add(started)
        channel.on('error', () => {})
        channel.pipe(started.stdin)
        started.stdin.on('error', () => {})
        started.stdout.pipe(channel, { end: false })
        started.stderr.pipe(channel.stderr, { end: false })
        channel.on('close', () => started.kill('SIGKILL'))
        started.once('close', (code, signal) => {
          children.delete(started)
          if (signal === null) channel.exit(code ?? 0)
          else channel.exit(signal.slice(3))
          channel.end()
        })
      }
      session.on('exec', (acceptExec, _reject, { command }) => run(command, acceptExec))
      session.on('shell', (acceptShell) => run('exec /bin/sh', acceptShell))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const connection of connections) {
      ;(connection as unknown as { _sock: { destroy(): void } })._sock.destroy()
    }
  }
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    close: async () => {
      cut()
      for (const child of children) child.kill('SIGKILL')
      server.close()
    },
  }
}

const { STATUS_CODE, flagsToString } = ssh2.utils.sftp

/** Serves the files of this host, with the requests that a copy needs. */
function serveFiles(sftp: SFTPWrapper, { listing }: TestServerOptions): void {
  const files = new Map<number, FileHandle>()
  const folders = new Map<number, string[]>()
  const made = new Map<number, { readonly path: string; round: number }>()
  let next = 1
  const toHandle = (id: number) => {
    const handle = Buffer.alloc(4)
    handle.writeUInt32BE(id)
    return handle
  }
  const attempt = (id: number, work: () => Promise<unknown>) => {
    work().then(
      (isAnswered) => isAnswered === true || sftp.status(id, STATUS_CODE.OK),
      (error: NodeJS.ErrnoException) => {
        const codes: Record<string, number> = { ENOENT: 2, EACCES: 3, EOF: 1 }
        sftp.status(id, codes[error.code ?? ''] ?? STATUS_CODE.FAILURE)
      },
    )
  }
  const file = (handle: Buffer) => files.get(handle.readUInt32BE(0)) as FileHandle
  const answer = (send: () => void) => {
    send()
    return true
  }
  sftp.on('OPEN', (id, path, flags, attributes) =>
    attempt(id, async () => {
      const opened = await open(path, flagsToString(flags) ?? 'r', attributes.mode)
      files.set(next, opened)
      return answer(() => sftp.handle(id, toHandle(next++)))
    }),
  )
  sftp.on('READ', (id, handle, offset, length) =>
    attempt(id, async () => {
      const { bytesRead, buffer } = await file(handle).read(Buffer.alloc(length), 0, length, offset)
      if (bytesRead === 0) throw Object.assign(new Error('end'), { code: 'EOF' })
      return answer(() => sftp.data(id, buffer.subarray(0, bytesRead)))
    }),
  )
  sftp.on('WRITE', (id, handle, offset, data) =>
    attempt(id, async () => void (await file(handle).write(data, 0, data.length, offset))),
  )
  sftp.on('CLOSE', (id, handle) =>
    attempt(id, async () => {
      folders.delete(handle.readUInt32BE(0))
      await files.get(handle.readUInt32BE(0))?.close()
    }),
  )
  sftp.on('FSTAT', (id, handle) =>
    attempt(id, async () => {
      const stats = await file(handle).stat()
      return answer(() => sftp.attrs(id, toAttributes(stats)))
    }),
  )
  sftp.on('FSETSTAT', (id, handle, { mode }) =>
    attempt(id, async () => void (mode !== undefined && (await file(handle).chmod(mode)))),
  )
  sftp.on('SETSTAT', (id, path, { mode }) =>
    attempt(id, async () => {
      const opened = await open(path, constants.O_RDONLY)
      if (mode !== undefined) await opened.chmod(mode)
      await opened.close()
    }),
  )
  for (const [event, look] of [['STAT', stat] as const, ['LSTAT', lstat] as const]) {
    sftp.on(event as 'STAT', (id, path) =>
      attempt(id, async () => {
        const stats = await look(path)
        return answer(() => sftp.attrs(id, toAttributes(stats)))
      }),
    )
  }
  sftp.on('OPENDIR', (id, path) =>
    attempt(id, async () => {
      if (listing?.(path, 0) !== undefined) made.set(next, { path, round: 0 })
      else
        folders.set(
          next,
          (await readdir(path)).map((name) => join(path, name)),
        )
      return answer(() => sftp.handle(id, toHandle(next++)))
    }),
  )
  sftp.on('READDIR', (id, handle) =>
    attempt(id, async () => {
      const madeUp = made.get(handle.readUInt32BE(0))
      const listed = madeUp === undefined ? undefined : listing?.(madeUp.path, madeUp.round++)
      if (listed !== undefined) {
        const files = listed.map(({ name, mode, size = 0 }) => {
          const attrs = toAttributes({ mode, uid: 0, gid: 0, size, atimeMs: 0, mtimeMs: 0 })
          return { filename: name, longname: name, attrs }
        })
        return answer(() => sftp.name(id, files as never))
      }
      const names = folders.get(handle.readUInt32BE(0))?.splice(0) ?? []
      if (names.length === 0) throw Object.assign(new Error('end'), { code: 'EOF' })
      const entries = await Promise.all(
        names.map(async (path) => ({
          filename: path.slice(path.lastIndexOf('/') + 1),
          longname: path,
          attrs: toAttributes(await lstat(path)),
        })),
      )
      return answer(() => sftp.name(id, entries as never))
    }),
  )
  sftp.on('MKDIR', (id, path) => attempt(id, () => mkdir(path).then(() => undefined)))
  sftp.on('REMOVE', (id, path) => attempt(id, () => unlink(path)))
  sftp.on('READLINK', (id, path) =>
    attempt(id, async () => {
      const target = await readlink(path)
      return answer(() => sftp.name(id, [{ filename: target, longname: target, attrs: {} }] as never))
    }),
  )
  sftp.on('SYMLINK', (id, linkPath, targetPath) => attempt(id, () => symlink(targetPath, linkPath)))
}

function toAttributes(stats: {
  mode: number
  uid: number
  gid: number
  size: number
  atimeMs: number
  mtimeMs: number
}) {
  const { mode, uid, gid, size, atimeMs, mtimeMs } = stats
  return { mode, uid, gid, size, atime: Math.floor(atimeMs / 1000), mtime: Math.floor(mtimeMs / 1000) }
}
