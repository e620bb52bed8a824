import { Argument, type Command } from 'commander'
import { SCRIPTS, type Shell } from '../completion/scripts.js'
import { formatExamples } from '../usage.js'

/** Adds `completion`, and the hidden command with which its scripts ask for candidates. */
export function addCompletionCommands(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands, options, guests and images in a shell')
    .addArgument(new Argument('<shell>').choices(Object.keys(SCRIPTS)))
    .addHelpText(
      'after',
      formatExamples([
        ['eval "$(withvm completion bash)"', 'in ~/.bashrc'],
        ['eval "$(withvm completion zsh)"', 'in ~/.zshrc, after compinit'],
        ['withvm completion fish | source', 'in ~/.config/fish/config.fish'],
      ]),
    )
    .action((shell: Shell) => void process.stdout.write(SCRIPTS[shell]))

  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      const { printCandidates } = await import('../completion/candidates.js')
      await printCandidates(program, words)
    })
}
