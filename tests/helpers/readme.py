"""What the system's first README said."""

# The training command of the first README, without its comments.
README_COMMAND = """--learning_rate_tanh 0.0002 --learning_rate_greedy_followers '0.00002 0.000002' --epoch_tanh 200
--epoch_greedy_followers '50 50' --batch_size 128 --num_resnets 2 --training_mode 4 --base_model_id '1993783'
--from_where_step 2 --suffix '_greedy_all_' --bottleneck_kernel_and_dilation '9 9 100 20 1 2'
--save_unique_mark 'follower_all' --the_strides '2' --coeff_term '60 10 10 0' --res_scalar 1.0 --pretrain_step 2
--target_entropy 2.2 --num_bins_for_follower '32 32' --is_cq 1"""
