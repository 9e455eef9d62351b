
# What clap's script leaves out: values that are no option's, and that what follows -- is a command line of its own.
complete -c fifofs -n "__fish_fifofs_using_subcommand completions" -x -a "bash elvish fish powershell zsh"
function __fish_fifofs_complete_command
    set -l words (commandline -opc)
    set -l at (contains -i -- -- $words)
    or return
    set -e words[1..$at]
    set -l current (commandline -ct)
    complete -C (string join ' ' -- (string escape -- $words) "$current")
end
complete -c fifofs -n "__fish_fifofs_using_subcommand run exec explain; and contains -- -- (commandline -opc)" -x -a "(__fish_fifofs_complete_command)"
