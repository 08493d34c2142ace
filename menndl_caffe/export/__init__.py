"""A run for other programs: tables for pandas, a study for optuna-dashboard, event files for TensorBoard.

`menndl export RUN --to csv|parquet|optuna|tensorboard`. All of it is made from the journal of a run, finished or going
on. As in the reports, generations are counted from 1; in the journal they are counted from 0.

    RUN/export/run.json                         the journal's first line: what was searched, with what, how to repeat it
    RUN/export/trials.csv, curves.csv           a row a trial; a row a test pass        (csv; parquet the same, typed)
    RUN/export/optuna.log                       optuna-dashboard RUN/export/optuna.log
    RUN/export/tensorboard/                     tensorboard --logdir RUN/export/tensorboard
"""
