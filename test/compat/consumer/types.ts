import {
  type CommandResult,
  checks,
  type Duration,
  defineImage,
  InfrastructureError,
  image,
  launchVM,
  launchVMs,
  netboot,
  type ShellSession,
  type VM,
  VMError,
  type VMOptions,
  withVM,
} from 'withvm'

/** Each option and each member that differs between compilers: overloads, tags, disposal, `undefined`. */
export async function useTheApi(timeout: Duration | undefined): Promise<string> {
  const options: VMOptions = {
    image: 'tiny',
    memory: undefined,
    cpus: undefined,
    network: undefined,
    timeouts: { start: timeout },
    limits: { disk: undefined },
    hostfwd: [{ guest: 80, host: undefined }],
    disks: [{ size: '1G', serial: undefined }],
  }
  await using vm = await launchVM(options)
  await using both: AsyncDisposable & Iterable<VM> = await launchVMs([{ name: 'a' }, {}])
  for (const { name } of both) await vm.ssh`echo ${name}`
  const text: CommandResult = await vm.ssh('true', { timeout, stdin: undefined, user: undefined })
  const bytes: CommandResult<Buffer> = await vm.ssh('true', { encoding: 'buffer' })
  const shell: ShellSession = await vm.ssh.shell()
  shell.stream.end()
  await vm.waitFor.check(checks.portListens(80))
  try {
    await vm.exec('true', { timeout })
  } catch (error) {
    if (error instanceof InfrastructureError || error instanceof VMError) return error.hint
  }
  // @ts-expect-error unknown option
  await withVM({ memroy: '1G' }, () => {})
  return `${text.stdout}${bytes.stdout.length}${String(netboot)}${String(defineImage)}${String(image)}`
}
