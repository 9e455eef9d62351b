
# What clap's script leaves out: what follows -- is a command line of its own, bash takes --option=value
# for three words, and where nothing is typed yet a path or a command is meant rather than an option.
_fifofs_and_command() {
    local i before="$3"
    if [[ "${COMP_WORDS[1]}" == @(run|exec|explain) ]]; then
        for ((i = 2; i < COMP_CWORD; i++)); do
            [[ "${COMP_WORDS[i]}" == -- ]] || continue
            if declare -F _comp_command_offset >/dev/null; then
                _comp_command_offset "$((i + 1))"
            elif declare -F _command_offset >/dev/null; then
                _command_offset "$((i + 1))"
            elif ((COMP_CWORD == i + 1)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$2")
            else
                COMPREPLY=()
            fi
            return 0
        done
    fi
    if [[ "$before" == = ]]; then
        before="${COMP_WORDS[COMP_CWORD - 2]}"
    fi
    _fifofs "$1" "$2" "$before"
    if [[ -z "$2" ]]; then
        local words=("${COMPREPLY[@]}") word
        COMPREPLY=()
        for word in "${words[@]}"; do
            [[ "$word" == -* ]] || COMPREPLY+=("$word")
        done
    fi
}
complete -F _fifofs_and_command -o bashdefault -o default fifofs
