/**
 * Scripts for the shells. Each runs the program that the user typed, with the words up to the
 * cursor, and reads one candidate per line: a value and its description, separated by a tab. Lines
 * that start with a colon are directives: `:files` adds the files of the host, and `:nospace` adds
 * no space after the candidate.
 */
export const SCRIPTS = {
  bash: `# Completion of withvm for bash. In ~/.bashrc: eval "$(withvm completion bash)"
_withvm() {
  local line files=
  local -a candidates=()
  while IFS= read -r line; do
    case $line in
      :files) files=1 ;;
      :nospace) compopt -o nospace ;;
      *) printf -v line %q "\${line%%$'\\t'*}"; candidates+=("$line") ;;
    esac
  done < <("\${COMP_WORDS[0]/#\\~/$HOME}" complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  COMPREPLY=("\${candidates[@]}")
  [[ -n $files ]] || return
  # Without a candidate, readline completes and quotes file names itself.
  if ((\${#candidates[@]} == 0)); then
    compopt -o default
  else
    while IFS= read -r line; do
      printf -v line %q "$line"
      COMPREPLY+=("$line")
    done < <(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}")
  fi
}
complete -F _withvm withvm
`,
  zsh: `#compdef withvm
# Completion of withvm for zsh. In ~/.zshrc, after compinit: eval "$(withvm completion zsh)"
_withvm() {
  local line files=0
  local -a candidates suffix
  while IFS= read -r line; do
    case $line in
      :files) files=1 ;;
      :nospace) suffix=(-S '') ;;
      *) candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}") ;;
    esac
  done < <("\${(Q)words[1]/#\\~/$HOME}" complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)
  (( $#candidates )) && _describe withvm candidates $suffix
  (( files )) && _files
}
if [[ $funcstack[1] == _withvm ]]; then _withvm "$@"; else compdef _withvm withvm; fi
`,
  fish: `# Completion of withvm for fish. In ~/.config/fish/config.fish: withvm completion fish | source
function __withvm_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for line in ($program complete -- $words "$current" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path "$current"
            case ':*'
            case '*'
                echo $line
        end
    end
end
complete -c withvm -f -a '(__withvm_complete)'
`,
} as const

export type Shell = keyof typeof SCRIPTS
