# The provider `lambda`, and ending a VM.
add_library(mayfly_test_lambda STATIC vm/lambda_class.c)
target_link_libraries(mayfly_test_lambda PUBLIC mayfly_vm)
foreach(name test_vm_lambda test_vm_lambda_auto test_vm_lambda_output test_vm_lambda_settings)
  mayfly_test(${name} LABEL unit SOURCES vm/${name}.c vm/lambda_scene.c
              LIBS mayfly_test_lambda mayfly_test_http PkgConfig::JANSSON)
endforeach()
# The fleet over a ledger in memory, scripted providers and a scripted GitHub.
mayfly_test(test_fleet LABEL unit once SOURCES fleet/test_fleet.c
            LIBS mayfly_fleet mayfly_test_memory_rows mayfly_test_must)
mayfly_record(test_fleet ledger)
mayfly_script(test_fleet vms github)
target_link_options(test_fleet PRIVATE -Wl,--wrap=wakeup_sleep)
mayfly_test(test_fleet_classes LABEL unit once SOURCES fleet/test_fleet_classes.c
            LIBS mayfly_fleet mayfly_test_memory_rows mayfly_test_must)
mayfly_record(test_fleet_classes ledger)
mayfly_script(test_fleet_classes vms github)
mayfly_test(test_fleet_output LABEL unit once SOURCES fleet/test_fleet_output.c
            LIBS mayfly_fleet mayfly_test_memory_rows mayfly_test_must)
mayfly_record(test_fleet_output ledger)
mayfly_script(test_fleet_output vms github)

# Against the stand-in for the service, which needs Node.
add_executable(test_vm_lambda_fake vm/test_vm_lambda_fake.c)
target_link_libraries(test_vm_lambda_fake PRIVATE mayfly_flags mayfly_test_lambda mayfly_test_fake
                      PkgConfig::CMOCKA PkgConfig::JANSSON)
add_test(NAME test_vm_lambda_fake
         COMMAND node ${PROJECT_SOURCE_DIR}/tests/fakes/with-fakes.mjs lambda-microvms --key AKIDEXAMPLE:not-a-secret
                 --run-rate 0 --terminate-rate 0 --get-rate 0 --list-rate 0 --keep-terminated-s 600
                 -- $<TARGET_FILE:test_vm_lambda_fake>)
set_tests_properties(test_vm_lambda_fake PROPERTIES LABELS unit TIMEOUT 120 COST 20)

# The terminators with the real ledger and provider; GitHub is scripted.
add_executable(test_terminators worker/test_terminators.c ${PROJECT_SOURCE_DIR}/worker/terminators.c)
target_link_libraries(test_terminators PRIVATE mayfly_flags mayfly_test_lambda mayfly_test_fake mayfly_fleet
                      PkgConfig::CMOCKA PkgConfig::JANSSON)
mayfly_record(test_terminators ledger)
mayfly_script(test_terminators github)
add_test(NAME test_worker_terminators
         COMMAND node ${PROJECT_SOURCE_DIR}/tests/fakes/with-fakes.mjs lambda-microvms --key AKIDEXAMPLE:not-a-secret
                 --keep-terminated-s 0 --image mayfly=512 -- $<TARGET_FILE:test_terminators>)
set_tests_properties(test_worker_terminators PROPERTIES LABELS "unit;race" TIMEOUT 240 COST 20)
